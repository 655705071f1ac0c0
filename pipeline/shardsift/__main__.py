"""`python -m shardsift VERB`: the command line."""

import sys

from shardsift.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
