"""Displays of objects in notebooks."""

from __future__ import annotations

from typing import Any


def shown_as(kind: str, shown: object) -> Any:
    """Return an object's display in a notebook, as `html` or `png`."""
    return getattr(shown, f"_repr_{kind}_")()
