"""Rows are made column by column, with the same values as for single images."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.annotations.annotate import OpenRows
from shardsift.errors import ErrorCode, ImageError
from shardsift.images.decoder import Picture
from shardsift.outputs.annotation_encoder import AnnotationEncoder
from shardsift.records import CropScores, ImageScore, Sample, ShardIdentity
from tests.generated import contents

WHITE = np.full((3, 4, 3), 255, np.uint8)


def rows_of(
    pictures: list[Picture], scores: list[ImageScore], at_once: int = 64
) -> list[dict[str, object]]:
    """The rows of a shard of these pictures, scored some at once."""
    encoder = AnnotationEncoder(ShardIdentity(path="a.tar", size=1, version="1"), contents())
    rows = OpenRows(encoder)
    samples = [Sample(key=f"k{n}", index=n) for n in range(len(pictures))]
    rows.add(samples, pictures, [()] * len(pictures))
    for begin in range(0, len(scores), at_once):
        rows.set_scores(scores[begin : begin + at_once])
    rows.close()
    return pq.read_table(pa.BufferReader(encoder.finish().annotation)).to_pylist()


def score(rng: np.random.Generator, crops: int) -> ImageScore:
    quality, q_sim, q_mag, w_sim = rng.random((4, crops), np.float32)
    own = CropScores(quality=quality, q_sim=q_sim, q_mag=q_mag, w_sim=w_sim)
    return ImageScore(per_crop=own)


def test_a_row_has_the_means_of_its_own_crops_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    scores = [score(rng, int(crops)) for crops in rng.choice([1, 2, 7, 16, 129, 661], 200)]
    for at_once in (1, 64):
        rows = rows_of([WHITE] * len(scores), scores, at_once)
        for row, one in zip(rows, scores, strict=True):
            assert row["crops"] == one.crops
            assert row["quality_min"] == float(one.per_crop.quality.min())
            assert row["quality_std"] == float(one.per_crop.quality.std())
            for cue in ("quality", "q_sim", "q_mag", "w_sim"):
                assert row[cue] == getattr(one, cue)


def test_one_crop_that_is_not_finite_is_an_error_and_not_nan() -> None:
    rng = np.random.default_rng(0)
    bad = score(rng, 3)
    bad.per_crop.q_mag[1] = np.nan
    good, other = score(rng, 3), score(rng, 3)
    rows = rows_of([WHITE] * 3, [good, bad, other])
    assert [row["error"] for row in rows] == [None, "non_finite", None]
    assert rows[1]["error_message"] == "the encoder gave a value that is not finite"
    assert {rows[1][name] for name in ("quality", "q_mag", "quality_std", "crops")} == {None}
    assert rows[2]["quality"] == other.quality


def test_a_message_becomes_one_line_of_200_characters() -> None:
    error = ImageError(ErrorCode.DECODE_ERROR, "line one\nline two " + "x" * 300)
    [row] = rows_of([error], [])
    assert row["error"] == "decode_error"
    assert row["error_message"] == ("line one line two " + "x" * 300)[:200]
    assert row["width"] is None
