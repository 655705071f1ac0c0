"""The shards of a run, and the names of their annotations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from shardsift.errors import InputError, OutputError, UserError
from shardsift.measures import changes_between
from shardsift.reading import TARS, Reading
from shardsift.records import ShardTask
from shardsift.redaction import reason, shown_cause
from shardsift.shards.folders import picture_shards
from shardsift.shards.names import annotation_name, check_file, check_folder
from shardsift.shards.parquet import check_parquet
from shardsift.shards.readers import identify_shard
from shardsift.storage.files import PARQUET_SUFFIX, absolute
from shardsift.storage.finding import absolute_pattern, expand, lone_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPlan:
    """The shards of a run; iterating lists them again, so a million are never in memory.

    `root` is the folder that shard names are relative to, `folders` are those that hold shards
    themselves, `count` is the number of different shards, `probes` are a few of them. `reading`
    tells what kind they are, and how they become samples. The shards of a folder of pictures are
    `listed` once, as that takes a walk.
    """

    patterns: tuple[str, ...]
    root: str
    folders: frozenset[str]
    count: int
    probes: tuple[str, ...]
    reading: Reading
    listed: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[ShardTask]:
        return map(self._task, _unique(self.patterns, self.listed))

    def _task(self, url: str) -> ShardTask:
        shard = url[len(self.root) :].lstrip("/")
        annotation = annotation_name(shard)
        return ShardTask(url=url, shard=shard, annotation=annotation, reading=self.reading)

    def check_found(self) -> None:
        """Refuse a list of which nothing seems to exist, as after a typing error in its braces,
        and Parquet files without pictures.

        Raises:
            InputError: if none of `probes` is there, or the storage can't tell.
        """
        first = self.probes[0]
        try:
            there = next((url for url in self.probes if _exists(self._task(url))), None)
            if there is None:
                hint = "; of a private data set, log in: hf auth login, or set HF_TOKEN"
                raise InputError(
                    f"{first}: can't be found, nor any other shard that was tried"
                    + (hint if first.startswith("hf://") else "")
                )
            if self.reading.kind == "parquet":
                check_parquet(there, self.reading)
        except (OSError, ImportError, ValueError) as error:
            raise InputError(f"{first}: {reason(error)}") from shown_cause(error)

    def check_case(self) -> None:
        """Refuse shards whose names only differ in case, for an output that ignores case.

        Raises:
            InputError: which names both.
        """
        seen = set[int]()
        for task in self:
            name = hash(task.shard.casefold())
            if name in seen:
                same = (t.url for t in self if hash(t.shard.casefold()) == name)
                raise _would_share(next(same), task.url, "in an output that ignores case")
            seen.add(name)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The patterns, so that they mean the same in any working directory."""
        return tuple(map(absolute_pattern, self.patterns))

    def check_reading(self, before: Reading, output: str) -> None:
        """Refuse shards that are read in another way than before. Raises OutputError."""
        if self.reading != before:
            changes = changes_between(before.model_dump(), self.reading.model_dump())
            raise OutputError(
                f"{output}: holds annotations of shards that were read otherwise: {changes}; "
                "choose another --output, or --overwrite to replace them"
            )

    def lies_below(self, root: str) -> bool:
        """Return whether all shards are below a folder."""
        return f"{self.root}/".startswith(f"{root.rstrip('/')}/")

    def below(self, root: str) -> ShardPlan:
        """Return the same shards with names relative to a folder further up, as in an earlier run.

        Raises:
            OutputError: if the shards aren't below it.
            InputError: if a shard can't have such a name.
        """
        if not self.lies_below(root):
            raise OutputError(
                f"the output has annotations of shards below {root}, but these are in "
                f"{self.root}; choose another --output, or --overwrite; if the corpus has moved "
                "there, name its folder and pass --rescore changed"
            )
        if self.reading.kind == "pictures" and root.rstrip("/") != self.root:
            raise OutputError(
                f"the output has annotations of the pictures in {root}; name that folder, or "
                "choose another --output"
            )
        _check_folders(root, self.folders)
        return replace(self, root=root)


TOP = "(top)"
"""Name of the group whose prefix is empty."""

_BEHIND_FOLDER = r"/?[^/]*$"
_NUMBERS = r"[0-9_.-]*(-of-[0-9]+)?\.(tar|parquet|pictures)$"


def prefix_pattern(shards: Iterable[str]) -> str:
    """Return the pattern to remove from shards' names, so that groups of shards remain.

    What remains is a shard's folder; if all are in one folder, the name without the numbers at its
    end; if these are equal, too, all shards are one group. The pattern means the same to Python and
    to DuckDB's `regexp_replace`.
    """
    shards = list(shards)
    patterns = (_BEHIND_FOLDER, _NUMBERS)
    patterns_that_differ = (
        p for p in patterns if len({re.sub(p, "", shard) for shard in shards}) > 1
    )
    return next(patterns_that_differ, _BEHIND_FOLDER)


def shard_prefixes(shards: Iterable[str]) -> dict[str, str]:
    """Return the name of each shard's group, as `prefix_pattern` forms them."""
    shards = list(shards)
    pattern = prefix_pattern(shards)
    return {shard: re.sub(pattern, "", shard) or TOP for shard in shards}


def plan_shards(patterns: Iterable[str], reading: Reading = TARS) -> ShardPlan:
    """Find all shards, their kind, and the deepest folder that holds them.

    Raises:
        InputError: if there is no shard, the shards are of several kinds or on several storages, or
            the annotation of one couldn't be found by its name.
    """
    patterns = tuple(patterns)
    listed = _listed_pictures(patterns)
    top = absolute(patterns[0]).rstrip("/") if listed else None
    reading = reading.model_copy(update={"kind": "pictures" if top else "tar"})
    folders: set[str] = set()
    probes: list[str] = []
    count = 0
    for url in _unique(patterns, listed):
        folder, _, name = url.rpartition("/")
        if count == 0 and name.endswith(PARQUET_SUFFIX):
            reading = reading.model_copy(update={"kind": "parquet"})
        if not top and name.endswith(PARQUET_SUFFIX) != (reading.kind == "parquet"):
            raise InputError(f"{url}: tars and Parquet files need an output each; name one kind")
        folders.add(folder)
        check_file(name)
        count += 1
        if count.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, …
            probes.append(url)
    if not folders:
        raise InputError("no shards given; name a folder of pictures, tars, or Parquet files")
    root = top or reduce(_shared_folder, sorted(folders))
    _check_folders(root, folders)
    options = {"image": reading.image, "key": reading.key}
    if reading.kind != "parquet" and (given := [name for name in options if options[name]]):
        raise InputError(f"--{given[0]} is for Parquet files, and these are {reading.kind}")
    if reading.kind != "tar" and reading.key_by != "dot":
        raise InputError("--key-by is for tars")
    return ShardPlan(
        patterns=patterns,
        root=root,
        folders=frozenset({top} if top else folders),
        count=count,
        probes=tuple(probes),
        reading=reading,
        listed=listed,
    )


def _listed_pictures(patterns: Sequence[str]) -> tuple[str, ...] | None:
    """List the shards if the patterns are a folder of pictures, without tars or Parquet files."""
    folder = lone_folder(patterns)
    try:
        return picture_shards(absolute(folder)) if folder is not None else None
    except (OSError, UserError):  # told by whoever looks for tars there
        return None


def plan_moved(inputs: Sequence[str], root: str, folder: str, reading: Reading) -> ShardPlan:
    """Plan the shards of a run whose `root` has moved to another folder.

    These are the existing ones of its `inputs`, with unchanged names. Raises as `plan_shards`.
    """
    there = absolute(folder).rstrip("/")
    inside = f"{root.rstrip('/')}/"
    moved = [there + given[len(inside) - 1 :] for given in inputs if f"{given}/".startswith(inside)]
    # A list, or a pattern that begins above the root, doesn't give the new place.
    plan = plan_shards(moved if len(moved) == len(inputs) else [there], reading)
    return plan.below(there)


def _check_folders(root: str, folders: Iterable[str]) -> None:
    for folder in folders:
        check_folder(folder[len(root) :])


def _exists(task: ShardTask) -> bool:
    try:
        identify_shard(task)
    except FileNotFoundError:
        return False
    return True


def _shared_folder(root: str, folder: str) -> str:
    while not f"{folder}/".startswith(f"{root}/"):
        if not root or root.endswith(":/"):
            raise InputError(f"{folder}: is on another storage than other shards of this run")
        root = root.rpartition("/")[0]
    return root


def _unique(patterns: Sequence[str], listed: Sequence[str] | None) -> Iterator[str]:
    """Yield absolute locations; a shard that is named twice is scored once.

    Raises:
        InputError: if two shards would share an annotation.
    """
    seen: set[int] = set()  # hashes: 60 MB for a million shards; names would take three times that
    odd: set[int] = set()  # normalised forms of the few locations that have another spelling

    def locations() -> Iterator[str]:
        return _absolute(patterns) if listed is None else iter(listed)

    for url in locations():
        if hash(url) in seen:
            continue
        plain = _plain(url)
        if hash(plain) in odd or (plain != url and hash(plain) in seen):
            same = (other for other in locations() if _plain(other) == plain)
            raise _would_share(next(same), url, "on some systems")
        if plain != url:
            odd.add(hash(plain))
        seen.add(hash(url))
        yield url


def _absolute(patterns: Iterable[str]) -> Iterator[str]:
    folders: dict[str, str] = {}  # cached: `absolute` is slow, and most shards share their folder
    for location in expand(patterns):
        folder, _, name = location.rpartition("/")
        if not folder or folder.endswith((":", "/")):
            yield absolute(location)
        else:
            if folder not in folders:
                folders[folder] = absolute(folder).rstrip("/")
            yield f"{folders[folder]}/{name}"


def _plain(url: str) -> str:
    """Spell a location without empty folders, and in Unicode's composed form (NFC)."""
    protocol, separator, path = url.rpartition("://")
    while "//" in path:
        path = path.replace("//", "/")
    return protocol + separator + unicodedata.normalize("NFC", path)


def _would_share(one: str, other: str, where: str) -> InputError:
    return InputError(
        f"{one!r} and {other!r}: their annotations would be one file {where}; rename one"
    )
