"""What the attributes of a shard come to, and how footers and manifests write it down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from shardsift.config import ATTRIBUTE_PREFIX
from shardsift.records import Spread

_WRITTEN = TypeAdapter(dict[str, tuple[float, float, float, float]])


def spreads_of(table: Any) -> dict[str, Spread]:
    """Sum up the attributes of rows with a score; none if there is no such row."""
    scored = {
        name: table[name].drop_null().combine_chunks().to_numpy().astype(np.float64)
        for name in table.column_names
        if name.startswith(ATTRIBUTE_PREFIX)
    }
    return {
        name: Spread(
            float(values.sum()),
            float((values**2).sum()),
            float(values.min()),
            float(values.max()),
        )
        for name, values in scored.items()
        if len(values)
    }


def encode_spreads(spreads: Mapping[str, Spread]) -> str:
    """Write them as JSON; equal ones give equal text."""
    numbers = {name: [s.total, s.squares, s.lowest, s.highest] for name, s in spreads.items()}
    return json.dumps(numbers, sort_keys=True)


def decode_spreads(text: str) -> dict[str, Spread]:
    """Read what was written. Raises ValueError."""
    return {name: Spread(*numbers) for name, numbers in _WRITTEN.validate_json(text).items()}
