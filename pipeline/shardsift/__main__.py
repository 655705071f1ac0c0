"""`python -m shardsift VERB`: the command line."""

from shardsift.cli.app import command

if __name__ == "__main__":
    command()
