"""How annotations are made, and in what that differs from how others were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shardsift.config import Extras
from shardsift.outputs.records import RunRecord


@dataclass(frozen=True, slots=True)
class Made:
    """How annotations are made: `config` is what `fingerprint` was made of, for people."""

    fingerprint: str
    config: Mapping[str, Any]
    extras: Extras = field(default_factory=Extras)


def difference(record: RunRecord, made: Made) -> str | None:
    """Tell in what a run differs from the one that was recorded; None if it doesn't."""
    extras, own = record.extras.model_dump(mode="json"), made.extras.model_dump(mode="json")
    if record.fingerprint != made.fingerprint:
        changes = _changes(record.config, made.config) or "the weights differ"
        return f"made with another configuration ({changes})"
    if extras["attributes"] != own["attributes"]:
        return f"with other attributes ({_changes(extras['attributes'], own['attributes'])})"
    return f"with other extras ({_changes(extras, own)})" if extras != own else None


def _changes(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    keys = [key for key in sorted({*there, *here}) if there.get(key) != here.get(key)]
    return "; ".join(f"{k}: {there.get(k)} there, {here.get(k)} here" for k in keys)[:200]
