"""`shardsift config`: configs to begin with."""

from __future__ import annotations

import re
import sys
from itertools import takewhile

from shardsift.cli.catalogue import VERBS
from shardsift.cli.console import DONE, PlainConsole
from shardsift.cli.flags import template_of
from shardsift.cli.tables import Sheet
from shardsift.config import bundled_configs, did_you_mean
from shardsift.config.verb_settings import ConfigConfig
from shardsift.errors import ConfigError


def run(config: ConfigConfig, console: PlainConsole) -> int:
    """Print a config that may be redirected into a file; return the exit code."""
    configs, name = bundled_configs(), config.name
    if name is None:
        PlainConsole().tabulate(_overview())
        console.suggest("config", "laptop")
    elif name in configs:
        sys.stdout.write(configs[name].read_text())
    elif name in VERBS:
        sys.stdout.write(template_of(VERBS[name].config))
    else:
        hint = did_you_mean(name, [*configs, *VERBS], "see `shardsift config`")
        raise ConfigError(f"{name}: not an included config, nor a verb; {hint}")
    return DONE


def _overview() -> Sheet:
    """List the configs by what their first sentence says, and the verbs that have none."""
    configs = {name: _first_sentence(file.read_text()) for name, file in bundled_configs().items()}
    verbs = [
        [name, f"all settings of `{name}`"] for name in VERBS if name not in {*configs, "config"}
    ]
    return Sheet(title="shardsift config NAME", names=2, rows=list(configs.items()), below=verbs)


def _first_sentence(config: str) -> str:
    head = takewhile(lambda line: line.startswith("#"), config.splitlines())
    text = " ".join(line.removeprefix("#").strip() for line in head)
    return re.split(r"(?<=[.:])\s", text)[0].rstrip(":")
