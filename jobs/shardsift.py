"""Run a verb from a checkout: `ray job submit --working-dir . -- python jobs/shardsift.py VERB …`.

Shardsift itself need not be installed. On a cluster that is joined, the engine hands the package to
the actors; those of a cluster on this machine find it by PYTHONPATH.
"""

import os
import sys
from pathlib import Path

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[1] / "pipeline")

sys.path[0] = _PACKAGE_ROOT  # in place of jobs/, where this file would be taken for the package
os.environ["PYTHONPATH"] = os.pathsep.join(
    [_PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
)

if __name__ == "__main__":
    from shardsift.cli.app import command

    command()
