"""Write text that is generated from code into the documentation: `python -m jobs.reference`.

In a page of `docs/`, it is between `<!-- made: NAME -->` and `<!-- end -->`; the rest of a page,
and the headers of `configs/`, are written by hand.
"""

from __future__ import annotations

from jobs.reference.pages import CONFIGS, PAGES, filled
from jobs.reference.settings import commented, kind_of


def main() -> None:
    """Write all pages, and the comments of all configs."""
    for page in PAGES:
        page.write_text(filled(page.read_text()))
    for file in CONFIGS:
        file.write_text(commented(file.read_text(), kind_of(file.stem)))


main()
