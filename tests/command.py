"""`python -m tests.command score …`: the command line with the fake scorer, as a process."""

from __future__ import annotations

from shardsift.cli.app import command
from tests.fakes import load_fake

if __name__ == "__main__":
    command(load=load_fake)
