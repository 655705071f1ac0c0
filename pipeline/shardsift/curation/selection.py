"""The exact cut of the order of all rows: a few streaming passes, in bounded memory.

Sketches tell about where the cut lies: one pass gathers and sorts the rows around it, and counts
those above. Where there are too many of them, or nothing is known, a pass counts rows by the next
upper bits of their key instead, until few enough are left; without `--per` that is two passes over
10^10 rows, unless millions are equal.

Suffixes: _N rows, _B buckets, _D values of a digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shardsift.annotations.ordering import LAST, Hashes, Ranks
from shardsift.curation.buckets import Codes

GATHERED = 1 << 23
"""How many rows are held at most, 20 bytes each."""

_COUNTER_BITS = 22
"""There are 2^22 counters, 8 bytes each, for all buckets together."""

_WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class Keys:
    """Rows of one file: their buckets, ranks, and hashes that decide ties."""

    bucket_N: Codes
    rank_N: Ranks
    tie_N: Hashes


@dataclass(frozen=True, slots=True)
class Cuts:
    """The last row that each bucket keeps: those above it in the order are kept, too."""

    rank_B: Ranks
    tie_B: Hashes

    def keep(self, keys: Keys) -> NDArray[np.bool_]:
        """Tell which rows are at or above the cut of their bucket."""
        cut_N = self.rank_B[keys.bucket_N]
        is_tie = (keys.rank_N == cut_N) & (keys.tie_N >= self.tie_B[keys.bucket_N])
        return (keys.rank_N > cut_N) | is_tie


@dataclass(frozen=True, slots=True)
class Selection:
    """Cuts, and how many rows each bucket has and keeps."""

    cuts: Cuts
    sizes_B: NDArray[np.int64]
    kept_B: NDArray[np.int64]


def select(
    read: Callable[[], Iterable[Keys]],
    buckets: int,
    share: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    at_most: int,
    gathered: int = GATHERED,
    rank_bits: int = _WORD_BITS,
) -> Selection:
    """Find the cut that keeps exactly `share(sizes)` rows of each bucket.

    `read` begins a new pass over all rows; there are `at_most` rows, whose ranks differ in the
    upper `rank_bits` alone.
    """
    search = _Search(buckets, share, rank_bits)
    while at_most > gathered and search.known < rank_bits + _WORD_BITS:
        at_most = search.narrow(read())
    return search.finish(read())


def select_near(
    passing: Iterable[Keys],
    share: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    low: int,
    high: int,
    gathered: int = GATHERED,
) -> Selection | None:
    """Select as `select` does, for one bucket in one pass, if its cut's rank is in `low` to `high`.

    None if it isn't, or more than `gathered` rows lie there.
    """
    ranks, ties = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    total = above = held = 0
    for keys in passing:
        is_near_N = (keys.rank_N >= low) & (keys.rank_N <= high)
        ranks.append(keys.rank_N[is_near_N])
        ties.append(keys.tie_N[is_near_N])
        held += len(ranks[-1])
        above += int((keys.rank_N > high).sum())
        total += len(keys.rank_N)
        if held > gathered:
            return None
    sizes_B = np.array([total])
    kept_B = share(sizes_B)
    left = int(kept_B[0]) - above
    if not 0 < left <= held:
        return None
    rank_N, tie_N = np.concatenate(ranks), np.concatenate(ties)
    last = np.lexsort((tie_N, rank_N))[[-left]]
    return Selection(Cuts(rank_N[last], tie_N[last]), sizes_B, kept_B)


class _Search:
    """Where the cuts lie: the upper bits of their keys, as far as they are known.

    A key is the rank of a row, followed by its hash.
    """

    def __init__(
        self,
        buckets: int,
        share: Callable[[NDArray[np.int64]], NDArray[np.int64]],
        rank_bits: int,
    ) -> None:
        self.known = 0
        self._rank_bits = rank_bits
        self._digit_bits = max(6, _COUNTER_BITS - (buckets - 1).bit_length())
        self._share = share
        self._prefixes = [np.zeros(buckets, np.uint64) for _ in range(2)]
        self._sizes_B: NDArray[np.int64] | None = None
        self._kept_B = np.zeros(buckets, np.int64)
        self._left_B = self._kept_B

    def narrow(self, passing: Iterable[Keys]) -> int:
        """Learn further bits from one pass; count the rows that still share all known ones."""
        is_rank_known = self.known >= self._rank_bits
        word, known = int(is_rank_known), self._known_of_words()[is_rank_known]
        bits = min(self._digit_bits, (_WORD_BITS if is_rank_known else self._rank_bits) - known)
        buckets = len(self._kept_B)
        counts = np.zeros(buckets << bits, np.int64)
        for keys in passing:
            word_N = _words(keys)[word] >> np.uint64(_WORD_BITS - known - bits)
            digit_N = word_N & np.uint64((1 << bits) - 1)
            place_N = (keys.bucket_N.astype(np.int64) << bits) | digit_N.astype(np.int64)
            np.add.at(counts, place_N[self._match(keys)], 1)
        counts_BD = counts.reshape(buckets, 1 << bits)
        self._learn_sizes(counts_BD.sum(axis=1))
        all_B = np.arange(buckets)
        from_top_BD = counts_BD[:, ::-1].cumsum(axis=1)
        place_B = (from_top_BD >= self._left_B[:, None]).argmax(axis=1)
        digit_B = (1 << bits) - 1 - place_B
        inside_B = counts_BD[all_B, digit_B]
        self._left_B = self._left_B - (from_top_BD[all_B, place_B] - inside_B)
        prefix_B = self._prefixes[word] << np.uint64(bits)
        self._prefixes[word] = prefix_B | digit_B.astype(np.uint64)
        self.known += bits
        return int(inside_B.sum())

    def finish(self, passing: Iterable[Keys]) -> Selection:
        """Gather the rows that are left, and find the cuts among them."""
        parts: list[tuple[Codes, Ranks, Hashes]] = []
        for keys in passing:
            match_N = self._match(keys)
            parts.append((keys.bucket_N[match_N], keys.rank_N[match_N], keys.tie_N[match_N]))
        bucket_N, rank_N, tie_N = (np.concatenate(column) for column in zip(*parts, strict=True))
        buckets = len(self._kept_B)
        ends_B = np.bincount(bucket_N, minlength=buckets).cumsum()
        self._learn_sizes(np.diff(ends_B, prepend=0))
        order_N = np.lexsort((tie_N, rank_N, bucket_N))
        rank_B = np.full(buckets, LAST, np.uint64)
        tie_B = np.full(buckets, np.iinfo(np.uint64).max, np.uint64)
        (some_B,) = np.nonzero(self._left_B)
        last_N = order_N[ends_B[some_B] - self._left_B[some_B]]
        rank_B[some_B], tie_B[some_B] = rank_N[last_N], tie_N[last_N]
        assert self._sizes_B is not None, "every pass counts"
        return Selection(Cuts(rank_B, tie_B), self._sizes_B, self._kept_B)

    def _match(self, keys: Keys) -> NDArray[np.bool_]:
        """Tell which rows have all bits that are known of their bucket's cut."""
        is_match_N = np.ones(len(keys.rank_N), np.bool_)
        knowns = self._known_of_words()
        for word_N, prefix_B, known in zip(_words(keys), self._prefixes, knowns, strict=True):
            if known:
                unknown = np.uint64(_WORD_BITS - known)
                is_match_N &= (word_N >> unknown) == prefix_B[keys.bucket_N]
        return is_match_N

    def _known_of_words(self) -> tuple[int, int]:
        """Tell how many bits are known of rank and hash."""
        rank_known = min(self.known, self._rank_bits)
        return rank_known, self.known - rank_known

    def _learn_sizes(self, sizes_B: NDArray[np.int64]) -> None:
        if self._sizes_B is None:
            self._sizes_B = sizes_B
            self._kept_B = self._left_B = self._share(sizes_B)


def _words(keys: Keys) -> tuple[Ranks, Hashes]:
    return keys.rank_N, keys.tie_N
