"""Keep-lists for training loops, without new tars."""

from __future__ import annotations

import logging
import re
import shlex
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shardsift.errors import InputError
from shardsift.filtering.kept_folder import KEEP_LIST, read_filtered
from shardsift.shards.names import annotation_name
from shardsift.storage.files import PARQUET_SUFFIX, SHARD_SUFFIX, absolute, join, list_files
from shardsift.text import count, printable

logger: Final = logging.getLogger(__name__)

_SHARDS_HELD = 64
_PIPE = "pipe:"
_QUERY = re.compile(r"(?<=\.tar)[?#].*$", re.DOTALL)


def keep(keep_list: str, *, shards: str | None = None) -> KeepList:
    """Load the keep-list of a filter.

    Examples:
        >>> kept = keep("corpus-kept")
        >>> len(kept), kept.counts["below_threshold"], next(iter(kept))
        >>> webdataset.WebDataset(shards).compose(kept)
        >>> datasets.load_dataset("webdataset", data_files=shards, streaming=True).filter(kept.has)
        >>> ray.data.read_webdataset(shards, include_paths=True).filter(kept.has)

    Args:
        keep_list: the `--output` of `shardsift filter`.
        shards: if the shards have moved since they were scored, the folder that their names are
            relative to. Without it, the folder is found by the names if possible.

    Raises:
        InputError: if there is no finished filter.
    """
    return KeepList(keep_list, shards)


class KeepList:
    """Finds kept samples; can be pickled for the workers of a loader.

    Keys of the shards used last are held, so that memory doesn't grow with the corpus. Samples are
    identified by shard and key: equal keys in a shard are all kept, or none.
    """

    def __init__(self, url: str, shards: str | None = None) -> None:
        self._filtered = filtered = read_filtered(url)
        self._url = join(url, KEEP_LIST)
        self._files = frozenset(list_files(self._url))
        if not self._files:
            raise InputError(f"{url}: has no keep-list; filter with --emit keep-list")
        self._without = frozenset(filtered.without)
        self._locator = _ShardLocator(filtered.record.root, shards)
        self._keys: OrderedDict[str, frozenset[str]] = OrderedDict()

    def __call__(self, samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Pass on the samples that are kept: a stage of webdataset."""
        return filter(self.has, samples)

    def has(self, sample: Mapping[str, Any]) -> bool:
        """Return whether a sample is kept, by its `__key__` and its `__url__`, in Ray Data `path`.

        Raises:
            InputError: for a shard that the filter has not seen, or that may be one of several.
        """
        url = sample.get("__url__") or sample.get("path")
        if not url or "__key__" not in sample:
            raise InputError(
                "a sample without __key__, or without __url__ and path, can't be looked up in a "
                "keep-list; Ray Data has a path with read_webdataset(…, include_paths=True)"
            )
        return printable(str(sample["__key__"])) in self._keys_of(str(url))

    def __len__(self) -> int:
        """Count the samples that are kept."""
        return self._filtered.summary.kept

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield shard and key of each kept sample, in the order of the corpus."""
        for name in sorted(self._files):
            table = self._filtered.read(name, ["shard", "key"]).table
            yield from zip(table["shard"].to_pylist(), table["key"].to_pylist(), strict=True)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Row numbers of the kept samples in a corpus of Parquet files, in order of their names.

        `dataset.select(kept.places)` keeps these of `datasets.load_dataset("parquet", …)`.

        Raises:
            InputError: for another kind of corpus, or if a file has no annotation.
        """
        if self._without:
            raise InputError(f"{min(self._without)}: has no annotation, so rows can't be numbered")
        found, first = [np.empty(0, np.int64)], 0
        for name in sorted(self._files):
            kept = self._filtered.read(name, ["index"])
            if not kept.footer.shard.endswith(PARQUET_SUFFIX):
                raise InputError(f"{kept.footer.shard}: only rows of Parquet files have numbers")
            found.append(kept.table["index"].to_numpy().astype(np.int64) + first)
            first += kept.footer.shard_rows
        return np.concatenate(found)

    def has_place(self, sample: object, place: int) -> bool:
        """Return whether the row of this number is kept, see `places`.

        For streams: `dataset.filter(kept.has_place, with_indices=True)`, in one process.
        """
        nearest = int(np.searchsorted(self.places, place))
        return nearest < len(self.places) and bool(self.places[nearest] == place)

    @property
    def counts(self) -> dict[str, int]:
        """Counts of all rows that were filtered, by their outcome."""
        told = self._filtered.summary.model_dump(mode="json")
        return {name: value for name, value in told.items() if type(value) is int}

    def __repr__(self) -> str:
        summary = self._filtered.summary
        kept = f"{summary.kept:,} of {count(summary.rows, 'sample')}"
        return f"KeepList({self._filtered.url!r}: {kept}, in {count(summary.shards, 'shard')})"

    def _repr_html_(self) -> str:
        """Show it as a table in a notebook."""
        summary = self._filtered.summary
        rows = "".join(
            f"<tr><th>{name.replace('_', ' ')}</th><td>{value:,}</td>"
            f"<td>{value / summary.rows:.1%}</td></tr>"
            for name, value in self.counts.items()
            if "shards" not in name
        )
        return f"<table><caption>{escape(self._filtered.url)}</caption>{rows}</table>"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_keys": OrderedDict()}

    def _keys_of(self, url: str) -> frozenset[str]:
        if url not in self._keys:
            self._keys[url] = self._load(url)
            if len(self._keys) > _SHARDS_HELD:
                self._keys.popitem(last=False)
        self._keys.move_to_end(url)
        return self._keys[url]

    def _load(self, url: str) -> frozenset[str]:
        shard = self._locator.name_of(url, self._knows)
        if shard is None:
            raise InputError(
                f"{url}: not among the {len(self._files):,} shards of the keep-list in "
                f"{self._url}; if they have moved, pass their folder as shards="
            )
        if shard in self._without:
            logger.warning("%s: has no annotation, so none of its samples are kept", url)
            return frozenset()
        kept = self._filtered.read(annotation_name(shard), ["key"])
        return frozenset(kept.table["key"].to_pylist())

    def _knows(self, shard: str) -> bool:
        return annotation_name(shard) in self._files or shard in self._without


# --- names of shards from their locations ----------------------------------------------------


class _ShardLocator:
    """Finds the names of shards, which are all below one folder.

    That is the given folder, else the one that was scored, else the one that fits the first shard.
    """

    def __init__(self, scored_below: str, given: str | None) -> None:
        """Note the folder in which shards were scored, and the given one, if there is one."""
        self._is_given = given is not None
        root = _spelled(scored_below if given is None else given)
        without_protocol = root.partition("://")[2]  # Ray Data's paths in buckets lack the protocol
        self._roots = [root, absolute(without_protocol)] if without_protocol else [root]
        self._moved_to: str | None = None

    def name_of(self, url: str, knows: Callable[[str], bool]) -> str | None:
        """Find the name of the shard at a URL, which may be a command; None if it isn't known.

        Raises:
            InputError: if it may be one of several.
        """
        location = _location(url)
        name = self._below(location)
        if name is not None or self._is_given:
            return name if name is not None and knows(name) else None
        parts = location.split("/")
        names = ["/".join(parts[place:]) for place in range(len(parts))]
        known = [name for name in names if knows(name)]
        if len(known) > 1:
            raise InputError(
                f"{url}: may be {' or '.join(known)} of the keep-list; pass the folder of the "
                "shards as shards="
            )
        if not known:
            return None
        folder = location.removesuffix(known[0])
        if self._moved_to is None:
            self._moved_to = folder
        if folder != self._moved_to:
            raise InputError(
                f"{url}: isn't below the folder of the shards before, {self._moved_to or '.'}; "
                "pass the folder of the shards as shards="
            )
        return known[0]

    def _below(self, location: str) -> str | None:
        """Return the part of a location below the folder; None if it lies elsewhere."""
        for root in filter(None, self._roots):
            inside = f"{root.rstrip('/')}/"
            if location.startswith(inside):
                return location.removeprefix(inside)
        return None


def _location(url: str) -> str:
    """Return where a shard lies. Raises InputError if a command names several, or none."""
    if not url.startswith(_PIPE):
        return _spelled(_without_query(url))
    words = [_without_query(word) for word in _words(url)]
    found = dict.fromkeys(word for word in words if word.endswith(SHARD_SUFFIX))
    if len(found) != 1:
        number = "no shard" if not found else "several shards"
        raise InputError(f"{url}: names {number}, and can't be looked up")
    return _spelled(next(iter(found)))


def _words(command: str) -> Sequence[str]:
    try:
        return shlex.split(command.removeprefix(_PIPE))
    except ValueError as error:
        raise InputError(f"{command}: can't be looked up: {error}") from error


def _without_query(location: str) -> str:
    return _QUERY.sub("", location) if "://" in location else location


def _spelled(location: str) -> str:
    """Normalise a location; one of an unknown filesystem stays unchanged."""
    if not location or ("://" in location and not location.startswith("file://")):
        return location.rstrip("/")
    return absolute(location)
