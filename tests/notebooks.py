"""What a notebook asks of an object that ends a cell."""

from __future__ import annotations

from typing import Any


def shown_as(kind: str, shown: object) -> Any:
    """What stands in the notebook for it, as `html` or `png`."""
    return getattr(shown, f"_repr_{kind}_")()
