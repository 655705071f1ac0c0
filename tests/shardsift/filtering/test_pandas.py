"""A filter keeps what a dozen lines of pandas keep, whatever the rule."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import ErrorCode, UserError
from shardsift.filtering.query import curate
from tests.generated import row, write_annotations

SHARDS = ("a/0.tar", "a/1.tar", "b/0.tar")

SAMPLES = st.fixed_dictionaries(
    {
        "shard": st.sampled_from(SHARDS),
        "quality": st.one_of(
            st.none(), st.sampled_from([0.25, 0.5, 0.75]), st.floats(-1, 2, width=32)
        ),
        "phash": st.sampled_from([None, 1, 2, 2**63]),
        "aes": st.sampled_from([None, float("nan"), -1.0, 0.0, 0.5, 2.5]),
        "lang": st.sampled_from([None, "en", "de"]),
    }
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "where": st.sampled_from(["aes > 0", "lang = 'en'", "phash IS NULL OR quality > 0.3"]),
        "unique": st.sampled_from(["phash", "lang", "nullif(phash, 1)"]),
        "by": st.sampled_from(["quality", "aes", "quality - 0.5 * aes", "-index"]),
        "per": st.sampled_from(["prefix", "lang", "aes > 0"]),
        "errors": st.just("keep"),
    },
)


def tie(shard: str, index: int) -> int:
    """SplitMix64 of the shard's hash and the index."""
    mask = 2**64 - 1
    seed = hashlib.blake2b(shard.encode(), digest_size=8).digest()
    mixed = (int.from_bytes(seed, "little") + index + 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)


def kept_by_pandas(frame: Any, rule: dict[str, Any], share: float) -> set[Any]:
    aes, lang, phash = frame["aes"], frame["lang"], frame["phash"]
    conditions = {
        "aes > 0": aes > 0,
        "lang = 'en'": lang == "en",
        "phash IS NULL OR quality > 0.3": phash.isna() | (frame["quality"] > 0.3),
    }
    values = {"quality": frame["quality"].astype(float), "aes": aes, "-index": -frame["index"]}
    values["quality - 0.5 * aes"] = values["quality"] - 0.5 * aes
    groups = {"phash": phash, "lang": lang, "nullif(phash, 1)": phash.where(phash != 1)}
    parts = {"prefix": frame["shard"].str[0], "lang": lang, "aes > 0": (aes > 0).where(aes.notna())}
    frame = frame.assign(
        value=values[rule.get("by", "quality")],
        group=groups.get(rule.get("unique", ""), pd.Series(None, frame.index, dtype=object)),
        part=parts.get(rule.get("per", ""), pd.Series("all", frame.index)),
    )
    frame = frame[conditions.get(rule.get("where", ""), pd.Series(True, frame.index))]
    unscored = frame[frame["quality"].isna()]
    best = frame[frame["quality"].notna() & frame["value"].notna()]
    best = best.sort_values(["value", "tie"], ascending=False)
    best = best[best["group"].isna() | ~best.duplicated("group")]
    sizes = best.groupby("part", dropna=False)["value"].transform("size")
    places = best.groupby("part", dropna=False).cumcount()
    best = best[places < (sizes * share).round()]
    kept = pd.concat([best, unscored]) if "errors" in rule else best
    return {*zip(kept["shard"], kept["index"], strict=True)} if len(best) else set()


@given(st.lists(SAMPLES, min_size=1, max_size=40), RULES, st.sampled_from([0.1, 0.3, 0.5, 1.0]))
@settings(deadline=None, max_examples=60)
def test_it_keeps_what_pandas_keeps(
    samples: list[dict[str, Any]], rule: dict[str, Any], share: float
) -> None:
    frame: Any = pd.DataFrame(samples).sort_values("shard", kind="stable", ignore_index=True)
    frame["index"] = frame.groupby("shard").cumcount()
    frame["quality"] = frame["quality"].astype("float32")
    frame["phash"] = frame["phash"].astype("UInt64")
    frame["tie"] = [tie(s, i) for s, i in zip(frame["shard"], frame["index"], strict=True)]
    frame["tie"] = frame["tie"].astype("uint64")
    with TemporaryDirectory() as name:
        shards: dict[str, list[Any]] = {shard: [] for shard in SHARDS}
        for sample in frame.to_dict("records"):
            lost = np.isnan(sample["quality"])
            phash = None if pd.isna(sample["phash"]) else int(sample["phash"])
            own = ErrorCode.TRUNCATED if lost else float(sample["quality"])
            shards[sample["shard"]].append(row(sample["index"], own, phash=phash))
        scores = write_annotations(Path(name, "scores"), shards)
        table = pa.Table.from_pandas(frame[["shard", "index", "aes", "lang"]])
        pq.write_table(table, Path(name, "table.parquet"))
        fields = {"annotations": str(scores), "output": f"{name}/kept", "keep_top": share}
        names = " ".join(map(str, rule.values()))
        if "aes" in names or "lang" in names:
            fields |= {"join": f"{name}/table.parquet", "on": "shard,index"}
        try:
            curate(FilterConfig.model_validate(fields | rule))
        except UserError:  # nothing is kept
            kept: set[Any] = set()
        else:
            files = Path(name, "kept", "keep-list").rglob("*.parquet")
            rows = [r for file in files for r in pq.ParquetFile(file).read().to_pylist()]
            kept = {(r["shard"], r["index"]) for r in rows}
        assert kept == kept_by_pandas(frame, rule, share)
