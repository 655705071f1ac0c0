"""The threshold of a filter: given, from sketches, or by the exact selection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from shardsift.annotations.ordering import rank
from shardsift.annotations.sketch import shortest
from shardsift.annotations.survey import Survey
from shardsift.curation.filter_config import QUALITY, FilterConfig
from shardsift.curation.selection import GATHERED, Cuts, Keys, Selection, select, select_near
from shardsift.curation.sieve import THREADS, Sieve
from shardsift.errors import InputError
from shardsift.threads import Track, map_ordered


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """One of `--per`: rows it may keep, how many of them are kept, and the lowest value kept."""

    name: str
    rows: int
    kept: int
    threshold: float | int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """What kept rows are at or above.

    Attributes:
        cuts: the same in the order of all rows, which decides ties.
        value: the lowest one kept, of what the filter goes by; None if each of `buckets` has its
            own.
        rank_error: how far off its rank may be, 0..1; None if it is exact.
    """

    cuts: Cuts
    value: float | int | None
    rank_error: float | None = None
    buckets: Sequence[Bucket] = ()


def find_threshold(config: FilterConfig, found: Survey, sieve: Sieve, track: Track) -> Threshold:
    """Find the threshold that keeps what `config` asks for.

    Raises:
        InputError: if that is nothing, or more than there is.
        AnnotationError: if a file is damaged.
    """
    if config.least is not None:
        if config.by == QUALITY:
            _check_range(config.least, found)
        return _at(config.least, sieve, None)
    if config.approximate:
        (wanted,) = _share(config, found, np.array([found.scored]))
        # Half a row further: between ranks, so that rounding can't choose the row beside it.
        quantiles = found.quality.quantiles([1 - (wanted - 0.5) / found.scored])
        assert quantiles is not None, "there are scored rows"
        error = found.quality.rank_error
        return _at(quantiles[0], sieve, error and error + 0.5 / found.scored)
    return _exact(config, found, sieve, track)


def _at(least: float, sieve: Sieve, rank_error: float | None) -> Threshold:
    rank_B = np.array([sieve.by.rank_of(least)], np.uint64)
    (value,) = sieve.by.value_of(rank_B)
    cuts = Cuts(rank_B, np.zeros(1, np.uint64))
    return Threshold(cuts=cuts, value=value, rank_error=rank_error)


def _exact(config: FilterConfig, found: Survey, sieve: Sieve, track: Track) -> Threshold:
    passes = 0

    def read() -> Iterable[Keys]:
        nonlocal passes
        passes += 1
        keys = map_ordered(sieve.keys, found.parts, THREADS)
        return track(keys, f"selecting, pass {passes}", len(found.parts))

    names, share = sieve.buckets.names, partial(_share, config, found)
    selection = None
    sketch_tells = config.by == QUALITY and not (sieve.where or config.unique or config.per)
    if sketch_tells and (span := _span(config, found)):
        selection = select_near(read(), share, *span)
    if selection is None:
        selection = select(read, len(names), share, found.scored, rank_bits=sieve.by.bits)
    if config.per:
        buckets = _buckets(names, selection, sieve)
        return Threshold(cuts=selection.cuts, value=None, buckets=buckets)
    (value,) = sieve.by.value_of(selection.cuts.rank_B)
    return Threshold(cuts=selection.cuts, value=value)


def _span(config: FilterConfig, found: Survey) -> tuple[int, int] | None:
    """Tell between which ranks the cut is, by the sketches; None if too many rows lie there."""
    error = found.quality.rank_error
    if not found.scored or 2 * error * found.scored > GATHERED:
        return None
    (wanted,) = _share(config, found, np.array([found.scored]))
    middle = 1 - wanted / found.scored
    span = found.quality.quantiles([max(middle - error, 0.0), min(middle + error, 1.0)])
    assert span is not None, "there are scored rows"
    low, high = rank(np.array(span, np.float32)).tolist()
    return low, high


def _share(config: FilterConfig, found: Survey, sizes_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tell how many rows of each bucket are kept. Raises InputError if that can't be done."""
    if not sizes_B.sum():
        raise InputError(f"{found.url}: keeps nothing, for {_nothing(config, found)}")
    if config.keep_count is not None:
        wanted_B = np.array([config.keep_count])
    else:
        assert config.keep_top is not None, "one of them is given"
        of = [found.rows] if config.of == "all" else sizes_B.tolist()
        wanted_B = np.array([round(config.keep_top * size) for size in of])
    if (wanted_B > sizes_B).any():
        raise InputError(
            f"{found.url}: can't keep {wanted_B.sum():,} of its {found.rows:,} rows: only "
            f"{sizes_B.sum():,} {_who_is_left(config)}; ask for less"
        )
    if not wanted_B.sum():
        raise InputError(
            f"{found.url}: keeps nothing: {config.keep_top:g} of {sizes_B.sum():,} rows "
            f"is less than one{' in each bucket' if config.per else ''}"
        )
    return wanted_B


def _who_is_left(config: FilterConfig) -> str:
    conditions = _conditions(config, "have", "pass")
    scored = f"are scored and {conditions}" if conditions else "are scored"
    return f"{scored} and are the best by {config.unique}" if config.unique else scored


def _nothing(config: FilterConfig, found: Survey) -> str:
    if not found.scored:
        return f"none of its {found.rows:,} rows has a score"
    return f"no scored row {_conditions(config, 'has', 'passes')}"


def _conditions(config: FilterConfig, has: str, passes: str) -> str:
    """Say what rows with a score have to fulfil before they are ranked; empty for nothing."""
    conditions = [f"{has} a value of {config.by}"] if config.by != QUALITY else []
    conditions += [f"{passes} where {config.where!r}"] if config.where else []
    return " and ".join(conditions)


def _check_range(quality: float, found: Survey) -> None:
    if found.quality.range is None:
        return
    low, high = (shortest(edge) for edge in found.quality.range)
    if np.float32(quality) > np.float32(high):
        problem = "no sample is so good"
    elif np.float32(quality) < np.float32(low):
        problem = "every scored sample is better"
    else:
        return
    raise InputError(
        f"min {quality:g} lies outside the data: {problem}; quality goes from {low:g} to {high:g}"
    )


def _buckets(names: Sequence[str], selection: Selection, sieve: Sieve) -> list[Bucket]:
    rows, kept = selection.sizes_B.tolist(), selection.kept_B.tolist()
    columns = zip(names, rows, kept, sieve.by.value_of(selection.cuts.rank_B), strict=True)
    return [
        Bucket(name=name, rows=size, kept=number, threshold=threshold)
        for name, size, number, threshold in columns
        if size
    ]
