"""What scored a run is taken from its record, whatever the defaults are."""

from __future__ import annotations

from typing import Any

import pytest

from shardsift.annotations.documents import RunRecord
from shardsift.config import ScoreConfig
from shardsift.errors import InputError
from shardsift.report.lookup import recorded_config


def record_of(**settings: Any) -> RunRecord:
    config = ScoreConfig(**settings).model_dump(mode="json")
    return RunRecord(fingerprint="f", config=config, root="/c", inputs=(), version="0")


def test_settings_are_those_of_the_run() -> None:
    record = record_of(model="RN50", pretrained="/models/RN50.pt", crops="fast", box_cox_lambda=0.3)
    assert recorded_config(record) == ScoreConfig(
        model="RN50", pretrained="/models/RN50.pt", crops="fast", box_cox_lambda=0.3
    )


def test_the_recorded_model_keeps_its_weights_and_another_has_its_own() -> None:
    """A run without a network would have asked one for what lies on its disk."""
    record = record_of(model="RN50", pretrained="/models/RN50.pt")
    assert recorded_config(record, model="RN50").pretrained == "/models/RN50.pt"
    assert recorded_config(record, model="RN101").pretrained is None
    moved = recorded_config(record, model="RN50", pretrained="/elsewhere.pt")
    assert (moved.model, moved.pretrained) == ("RN50", "/elsewhere.pt")
    assert recorded_config(record, pretrained="/elsewhere.pt").model == "RN50"


def test_annotations_without_a_record_say_nothing_of_it() -> None:
    with pytest.raises(InputError, match=r"no _run\.json"):
        recorded_config(None)
