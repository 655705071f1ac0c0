"""`python -m jobs.bench ask`: questions to embeddings, beside reading the same bytes.

On actors that are ready, lap by lap in turn, of files that are in the page cache.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import numpy as np
import torch
import typer

from shardsift.annotations.answers import AskInputs
from shardsift.columns import COLUMNS
from shardsift.engine.cluster import connected
from shardsift.engine.coordinator import Coordinator
from shardsift.engine.environment import prepare_ray
from shardsift.engine.fleet import RayFleet
from shardsift.measures import MACLIP, MACLIP_COLUMNS, Contents, MeasureRecord, Tower
from shardsift.outputs.annotation_encoder import AnnotationEncoder
from shardsift.outputs.embeddings import embeddings_name, read_embeddings
from shardsift.outputs.sealed_table import AnnotationFiles
from shardsift.records import FailedShard, ShardIdentity, ShardTask
from shardsift.runs.ask_run import asking
from shardsift.scoring.questions import Questions
from shardsift.shards.names import annotation_name

_SCORED = Contents(
    measures={MACLIP: MeasureRecord(digest="made-up", columns=MACLIP_COLUMNS, needs=())},
    embeddings=(MACLIP,),
)


def measure(
    shards: Annotated[int, typer.Option(help="Number of shards.")] = 100,
    rows: Annotated[int, typer.Option(help="Rows of each.")] = 10_000,
    values: Annotated[int, typer.Option(help="Values of an embedding; RN50 has 1024.")] = 1024,
    actors: Annotated[int, typer.Option(help="Number of actors.")] = 2,
    laps: Annotated[int, typer.Option(help="Laps of each.")] = 5,
    questions: Annotated[str, typer.Option(help="How many are asked at once.")] = "1,10",
) -> None:
    """Print millions of rows a second, lap by lap, and the medians."""
    prepare_ray()
    with tempfile.TemporaryDirectory() as folder, connected(None):
        source, output = Path(folder, "scores"), Path(folder, "answers")
        tasks = _write(source, shards, rows, values)
        _say(f"{shards * rows / 1e6:g} M rows of {values} values, {actors} actors, M rows/s", [])
        for number in map(int, questions.split(",")):
            asked = _made_up(number, values)
            inputs = AskInputs(
                annotations=AnnotationFiles(str(source), _SCORED.digests),
                measures=[asked],
                contents=Contents(measures={asked.name: asked.record}, sources=(MACLIP,)),
                output=str(output),
            )
            coordinator = Coordinator(
                RayFleet(asking(inputs, cpus=1)),
                actors,
                max_attempts=1,
                shard_timeout=3600,
                find_committed=lambda _: None,
            )
            while len(coordinator.places) < actors:
                _ask(coordinator, tasks)
            found: list[tuple[float, float]] = []
            for _ in range(laps):
                took = _ask(coordinator, tasks), _read(source, tasks, rows, values, actors)
                found.append((shards * rows / took[0] / 1e6, shards * rows / took[1] / 1e6))
                _say(f"{number} asked, read alone", found[-1])
            coordinator.stop()
            _say("median", [median(column) for column in zip(*found, strict=True)])


def _write(folder: Path, shards: int, rows: int, values: int) -> list[ShardTask]:
    """Write annotations with embeddings, all of the same values."""
    random = np.random.default_rng(0)
    embeddings_ND = random.standard_normal((rows, values), np.float32).astype(np.float16)
    columns = {column.name: [None] * rows for column in COLUMNS}
    columns |= {"index": list(range(rows)), "key": [f"{n:08}" for n in range(rows)]}
    columns |= {"quality": [0.5] * rows}
    tower = Tower(values=values, digest="", meaning="")
    tasks: list[ShardTask] = []
    for number in range(shards):
        shard = f"{number:05}.tar"
        identity = ShardIdentity(path=shard, size=1, version="1")
        encoder = AnnotationEncoder(identity, _SCORED, {MACLIP: tower})
        encoder.add(columns, {MACLIP: list(embeddings_ND)})
        encoded = encoder.finish()
        annotation = folder / annotation_name(shard)
        embeddings = folder / embeddings_name(annotation.name)
        embeddings.parent.mkdir(parents=True, exist_ok=True)
        embeddings.write_bytes(encoded.embeddings[MACLIP].data)
        annotation.write_bytes(encoded.annotation)
        tasks.append(ShardTask(shard=shard, annotation=annotation.name, url=str(annotation)))
    return tasks


def _made_up(number: int, values: int) -> Questions:
    generator = torch.Generator().manual_seed(0)
    return Questions(
        attributes={f"a{place}": (("one", "other"),) for place in range(number)},
        towards_QD=torch.randn(number, values, generator=generator),
        fingerprint=_SCORED.fingerprint,
    )


def _ask(coordinator: Coordinator, tasks: Sequence[ShardTask]) -> float:
    """Return the seconds that all answers took, synced to disk as actors do it."""
    started = perf_counter()
    outcomes = list(coordinator.run(tasks))
    took = perf_counter() - started
    if failed := [each for each in outcomes if isinstance(each, FailedShard)]:
        raise RuntimeError(failed[0].reason)
    return took


def _read(source: Path, tasks: Sequence[ShardTask], rows: int, values: int, threads: int) -> float:
    """Return the seconds in which `threads` threads read all embeddings."""

    def read(task: ShardTask) -> int:
        url = str(source / embeddings_name(task.annotation))
        return sum(len(part_ND) for part_ND in read_embeddings(url, rows, values))

    started = perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, tasks))
    return perf_counter() - started


def _say(what: str, numbers: Sequence[float]) -> None:
    sys.stdout.write(f"{what}  {'  '.join(f'{number:.3g}' for number in numbers)}\n")
    sys.stdout.flush()
