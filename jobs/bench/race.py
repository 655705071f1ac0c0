"""Contestants side by side: each in a process of its own, lap by lap in turn."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import torch

from jobs.bench.contestants import CONTESTANTS, Conditions, Lap

_KIBIBYTE = 1024


class BenchmarkError(RuntimeError):
    """A contestant could not run; the message names it and the reason."""


@contextmanager
def starting_line(name: str, conditions: Conditions) -> Generator[Connection]:
    """Start a contestant that waits for laps, in a new process, which ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_compete, args=(theirs, name, conditions), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(10)
        process.kill()


def run_laps(line: Connection, name: str, shard: str) -> Lap:
    """Score a shard by a contestant.

    Raises:
        BenchmarkError: if it can't.
    """
    line.send(shard)
    try:
        answer = line.recv()
    except EOFError:
        raise BenchmarkError(f"{name}: its process died") from None
    if isinstance(answer, Lap):
        return answer
    raise BenchmarkError(f"{name}: {answer}")


def race(
    names: Sequence[str], conditions: Conditions, warm_up: str, shard: str, rounds: int
) -> Iterator[tuple[str, Lap]]:
    """Yield laps as they end: one per round for each contestant, after a warm-up.

    The contestants take turns, so that a noisy machine is noisy for all of them.
    """
    with ExitStack() as stack:
        lines = {name: stack.enter_context(starting_line(name, conditions)) for name in names}
        for name, line in lines.items():
            run_laps(line, name, warm_up)
        for _ in range(rounds):
            for name, line in lines.items():
                yield name, run_laps(line, name, shard)


def _compete(line: Connection, name: str, conditions: Conditions) -> None:
    torch.set_num_threads(conditions.threads)
    contestant: Any = None
    while True:
        try:
            shard = line.recv()
        except EOFError:
            return
        try:
            contestant = contestant or CONTESTANTS[name](conditions)
            started = perf_counter()
            lap = contestant(shard)
            seconds = lap.seconds or perf_counter() - started
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIBIBYTE
            line.send(replace(lap, seconds=seconds, peak_bytes=peak))
        except Exception as error:  # noqa: BLE001  # told to whoever waits, who raises it
            line.send(f"{type(error).__name__}: {error}")
