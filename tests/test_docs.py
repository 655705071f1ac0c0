"""The documentation can't rot: its commands parse, its flags exist, no verb is left out.

Its Python and SQL run in `test_docs_examples.py`, its commands in
`integration/test_docs_commands.py`.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, cast

import pytest
import typer.main

from jobs.paper.config import ExperimentConfig, IqaShardsConfig, PaperConfig
from shardsift.cli.app import app
from shardsift.cli.flags import flag_of
from shardsift.config import fields_by_key
from tests.documentation import PAGES, ROOT, commands

VERBS: dict[str, Any] = cast(Any, typer.main.get_command(app)).commands
WHOLE = "\n".join(PAGES.values())
OURS = sorted({line for _, line in commands() if re.match(r"shardsift |ray job .* jobs/", line)})
OTHERS = r"(?:docker|kubectl|sbatch|prometheus|pip|ray|python|tar|img2dataset|make)\b.*?(?: -- |$)"
ELSEWHERE = {
    *("--help", "--group", "--skip", "--real", "--cold", "--scratch", "--gpus-per-node"),
    *("--cpus-per-task", "--time", "--partition", "--signal", "--requeue", "--no-kill"),
    *("--files-from", "--from"),
}
"""Flags of pip, img2dataset, Slurm, rsync and `jobs/` in sentences."""
LINKS = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", PAGES["README.md"])


def flags_of(verb: str) -> set[str]:
    parameters = VERBS[verb].params
    flags = [flag for each in parameters for flag in (*each.opts, *each.secondary_opts)]
    return {flag for flag in flags if "--" in flag}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_shown(verb: str) -> None:
    by_hand = [text for page, text in PAGES.items() if page != "docs/reference/cli.md"]
    assert f"shardsift {verb}" in "\n".join(by_hand)


PAPER = (ExperimentConfig, IqaShardsConfig, PaperConfig)
"""Settings of `python -m jobs.paper`, and of its parts."""


def test_every_documented_flag_exists() -> None:
    fields = [item for kind in PAPER for item in fields_by_key(kind).items()]
    papers = {flag for key, field in fields for flag in flag_of(key, field).split("/")}
    known = ELSEWHERE.union(papers, *(flags_of(verb) for verb in VERBS))
    ours = re.sub(rf"^{OTHERS}|`{OTHERS}`", "", WHOLE, flags=re.MULTILINE)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+(?![\w-]* -->)", ours)) <= known


@pytest.mark.parametrize("command", OURS)
def test_every_command_parses(command: str) -> None:
    verb, *rest = re.split(r"shardsift(?:\.py)? ", command, maxsplit=1)[1].split(maxsplit=1)
    if verb != "--version":
        VERBS[verb].make_context(verb, shlex.split(" ".join(rest)))


@pytest.mark.parametrize("link", LINKS)
def test_links_of_the_readme_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_every_page_is_in_the_readme_or_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES.keys() - {"README.md"}:
        assert page.removeprefix("docs/") in navigation
