"""Problems that a verification finds, what to do about them, and the walk that finds them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from shardsift.errors import OutputError
from shardsift.outputs.run_folder import SUMMARY, RunFolder, failed_name, is_passing, local_folder
from shardsift.redaction import reason
from shardsift.storage.local import is_leftover, is_temporary
from shardsift.threads import Track, map_ordered

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")


class Unsound(Exception):  # noqa: N818  # a finding, which never leaves the verification
    """A fault of a file; `is_ours` is False if somebody else wrote it."""

    def __init__(self, trouble: str, *, is_ours: bool = True) -> None:
        super().__init__(" ".join(trouble.split())[:300])
        self.is_ours = is_ours


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A problem with `place`, a shard or a file of the output, and what to do about it.

    `deletes` are the files that a repair removes; `rescores` says that the same command makes
    something again then.
    """

    place: str
    trouble: str
    remedy: str
    deletes: tuple[str, ...] = ()
    rescores: bool = False


@dataclass(kw_only=True, slots=True)
class Findings:
    """Result of a verification.

    Attributes:
        counts: numbers of checked things, by name.
        given_up: number of shards recorded as failed.
        unchecked: things that couldn't be checked, with reasons.
    """

    counts: dict[str, int] = field(default_factory=dict[str, int])
    given_up: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])
    unchecked: list[str] = field(default_factory=list[str])


def walk(
    found: Findings,
    items: Iterable[ItemT],
    check: Callable[[ItemT], FoundT],
    wrong: Callable[[ItemT, Unsound], Problem],
    track: Track,
    title: str,
    total: int,
    threads: int,
) -> Iterator[FoundT]:
    """Check items by many threads, and yield the results of sound ones, in their order.

    `check` raises Unsound for a bad item, which `wrong` turns into a problem. Raises OutputError if
    a file can't be fetched, which is not a problem of the file.
    """

    def look(item: ItemT) -> FoundT | Problem:
        try:
            return check(item)
        except Unsound as fault:
            return wrong(item, fault)
        except OSError as error:
            place = getattr(item, "shard", item)
            raise OutputError(f"{place}: can't be read: {reason(error)}") from error

    for outcome in track(map_ordered(look, items, threads), title, total):
        if isinstance(outcome, Problem):
            found.problems.append(outcome)
        else:
            yield outcome


def repair(folder: RunFolder, problems: Iterable[Problem]) -> list[str]:
    """Delete damaged, stale and left-over files, so that the next run makes them again.

    Return the names of deleted files. Raises OutputError if a command writes into the folder.
    """
    problems = list(problems)
    names = {name for problem in problems for name in problem.deletes}
    if any(
        problem.rescores for problem in problems
    ):  # a summary would say that the output is complete
        names.add(SUMMARY)
    names &= folder.files
    with folder.hold():
        return folder.delete_all(names)


def leftovers(folder: RunFolder) -> Iterator[Problem]:
    """Report temporary files of killed processes, and probes of writing."""
    local = local_folder(folder.url)
    for name in sorted(filter(is_passing, folder.files)):
        if local is None or not is_temporary(name) or is_leftover(local / name):
            trouble = "is left over from a killed run"
            yield Problem(place=name, trouble=trouble, remedy="--repair", deletes=(name,))


def strangers(names: Iterable[str], trouble: str) -> Iterator[Problem]:
    """Report files that no command has written here, except temporary ones."""
    for name in sorted(names):
        if not is_passing(name):
            yield Problem(place=name, trouble=trouble, remedy="delete it yourself")


def failures(
    folder: RunFolder, known: Collection[str], trouble: str, remedy: str
) -> Iterator[Problem]:
    """Report records of failures; those that are ours, or of shards that are `known`, may go.

    `trouble` is that of a sound one.
    """
    own = folder.own_failures()
    others = folder.failed - own - {failed_name(shard) for shard in known}
    yield from strangers(others, "is not a record of a failure")
    for name in sorted(folder.failed - others):
        wrong = trouble if name in own else "the record of a failure is damaged"
        yield Problem(place=name, trouble=wrong, remedy=remedy, deletes=(name,), rescores=True)


def unfinished(command: str) -> Problem:
    """Problem: the run never finished."""
    return Problem(
        place=SUMMARY,
        trouble="is missing: the run hasn't finished",
        remedy=f"run the same {command} command again",
    )
