"""Run a verb from a checkout, where Shardsift itself need not be installed."""

import os
import sys
from pathlib import Path
from typing import NoReturn

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[1] / "pipeline")


def run_verb(verb: str) -> NoReturn:
    """Run `shardsift VERB` with the arguments of this process, and exit with its code.

    On a cluster that is joined, the engine hands the package to the actors; those of a cluster on
    this machine find it by PYTHONPATH.
    """
    sys.path[0] = _PACKAGE_ROOT  # in place of jobs/, whose scripts are no modules
    others = [path for path in [os.environ.get("PYTHONPATH")] if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([_PACKAGE_ROOT, *others])
    from shardsift.cli.app import command

    command([verb, *sys.argv[1:]])
