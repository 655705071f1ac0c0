"""Contents of pages, for tests that need no browser."""

from __future__ import annotations

import json
import re
from typing import Any

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
"""Rules for axe."""


def data_in(page: str) -> dict[str, Any]:
    """Parse the data of a page's script."""
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])
