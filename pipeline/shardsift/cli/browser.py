"""Pages of ours in a person's browser."""

from __future__ import annotations

import webbrowser

from shardsift.storage.files import absolute


def open_in_browser(location: str) -> None:
    """Open a page, on a disk or at a URL that browsers know."""
    url = absolute(location)
    webbrowser.open(url if "://" in url else f"file://{url}")
