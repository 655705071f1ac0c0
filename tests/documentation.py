"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code of a page."""

    page: str
    language: str
    text: str


BLOCKS = [
    Block(page, language, textwrap.dedent(code))
    for page, text in PAGES.items()
    for _, language, code in _BLOCK.findall(text)
]


def blocks_of(page: str, language: str) -> list[str]:
    """The blocks of a language on a page, in order."""
    return [block.text for block in BLOCKS if block[:2] == (page, language)]


def commands() -> list[tuple[str, str]]:
    """Every line that a page tells to type, with its page."""
    return [
        (block.page, line)
        for block in BLOCKS
        if block.language == "bash"
        for line in block.text.splitlines()
        if line
    ]
