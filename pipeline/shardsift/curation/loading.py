"""Keep-lists for training loops, without writing the corpus anew."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.curation.kept import KEEP_LIST, read_filtered
from shardsift.errors import AnnotationError, InputError
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join, list_files, open_read
from shardsift.storage.redaction import reason, redact

logger = logging.getLogger(__name__)

_SHARD = re.compile(r"[^\s'\"]+\.tar(?=$|[\s'\"?#])")
_SHARDS_HELD = 64


def keep(keep_list: str) -> KeepList:
    """Load the samples that a filter has kept.

    >>> kept = keep("corpus-kept")  # the --output of `shardsift filter`
    >>> webdataset.WebDataset(shards).compose(kept)
    >>> datasets.load_dataset("webdataset", data_files=shards, streaming=True).filter(kept.has)
    >>> ray.data.read_webdataset(shards, include_paths=True).filter(kept.has)

    Raises:
        InputError: if no filter has come to its end there.
    """
    return KeepList(keep_list)


class KeepList:
    """Tells kept samples from others; may be pickled, so that workers of loaders have it.

    Keys of the shards used last are held, so that memory doesn't grow with the corpus. Samples
    are told apart by shard and key: of equal keys in a shard all are kept, or none.
    """

    def __init__(self, url: str) -> None:
        without = read_filtered(url).without
        self._url = join(url, KEEP_LIST)
        self._files = frozenset(list_files(self._url))
        if not self._files:
            raise InputError(f"{redact(url)}: has no keep-list; filter with --emit keep-list")
        self._without = frozenset(without)
        self._keys: OrderedDict[str, frozenset[str]] = OrderedDict()

    def __call__(self, samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Pass on the samples that are kept: a stage of webdataset."""
        return filter(self.has, samples)

    def has(self, sample: Mapping[str, Any]) -> bool:
        """Tell whether a sample is kept, by its `__key__` and its `__url__`, in Ray Data `path`.

        Raises:
            InputError: for a shard that the filter has not seen.
        """
        url = sample.get("__url__") or sample.get("path")
        if not url or "__key__" not in sample:
            raise InputError(
                "a sample without __key__, or without __url__ and path, can't be looked up in a "
                "keep-list; Ray Data has a path with read_webdataset(…, include_paths=True)"
            )
        return sample["__key__"] in self._keys_of(str(url))

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
        for shard in _names(url):
            if annotation_name(shard) in self._files:
                return _read_keys(join(self._url, annotation_name(shard)))
            if shard in self._without:
                logger.warning("%s: was never annotated, so nothing of it is kept", redact(url))
                return frozenset()
        raise InputError(
            f"{redact(url)}: not among the {len(self._files):,} shards of the keep-list in "
            f"{redact(self._url)}"
        )


def _names(url: str) -> Iterator[str]:
    """List what a shard may be called in a keep-list, the longest name first.

    `url` may be a command, as in `pipe:aws s3 cp s3://bucket/00000.tar -`.
    """
    found = _SHARD.search(url.removeprefix("pipe:"))
    parts = found.group().split("/") if found else []
    return ("/".join(parts[place:]) for place in range(len(parts)))


def _read_keys(url: str) -> frozenset[str]:
    try:
        with open_read(url) as file:
            return frozenset(pq.read_table(file, columns=["key"])["key"].to_pylist())
    except (OSError, pa.ArrowException, KeyError) as error:
        raise AnnotationError(f"{redact(url)}: not a keep-list: {reason(error)}") from error
