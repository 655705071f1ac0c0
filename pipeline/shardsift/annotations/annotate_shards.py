"""A run without Ray: annotate shards in this process, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from os import PathLike, fspath
from time import perf_counter
from typing import TYPE_CHECKING

from shardsift.annotations.annotate import annotate, contents_by
from shardsift.config import PICTURE_SECONDS, HashName
from shardsift.errors import ConfigError, ShardError
from shardsift.images.decoder import Decoder
from shardsift.images.hashes import Hashes
from shardsift.images.pool import make_decoder
from shardsift.measures import Measure
from shardsift.outputs.manifest import ManifestWriter
from shardsift.outputs.output_folder import OutputFolder, complete
from shardsift.outputs.run_folder import check_output
from shardsift.reading import KeyBy, Reading
from shardsift.records import FailedShard, ShardReport, ShardTask
from shardsift.redaction import reason
from shardsift.shards.plan import plan_shards
from shardsift.threads import Track, is_starved, no_track

if TYPE_CHECKING:  # a scorer has imported torch already
    from shardsift.scoring.scorer import ImageScorer

Location = str | PathLike[str]


def annotate_shards(
    shards: Location | Iterable[Location],
    scorer: ImageScorer,
    output: Location,
    *,
    hashes: Iterable[HashName] = (),
    measures: Iterable[Measure] = (),
    decode_workers: int = 0,
    picture_timeout: float = PICTURE_SECONDS,
    overwrite: bool = False,
    image: str | None = None,
    key: str | None = None,
    key_by: KeyBy = "dot",
    track: Track = no_track,
) -> list[ShardReport | FailedShard]:
    """Annotate all shards that are not annotated yet, and return the outcome of each of them.

    The output is that of `shardsift score`, and each can resume what the other has begun. A shard
    that can't be read is recorded in `_failed/`, and tried again by the next call.

    Examples:
        >>> from shardsift import ScoreConfig, Scorer, annotate_shards
        >>> scorer = Scorer(ScoreConfig(model="compact"))
        >>> annotate_shards("corpus/*.tar", scorer, "corpus-scores")

    Args:
        shards: a folder of pictures, or tars or Parquet files: paths, globs, braces, folders or
            `@list.txt`; any fsspec URL.
        scorer: the scorer; its configuration is recorded.
        output: folder or URL for the annotations; not a folder of shards.
        hashes: `sha256` of the image file, and the perceptual hash `phash`.
        measures: further measures.
        decode_workers: number of decoding processes; with 0, two threads of this process decode.
        picture_timeout: seconds of processor time for decoding one image; then it gets a
            `too_slow` row.
        overwrite: replace existing annotations, even those of another configuration.
        image: the column of Parquet files that has the pictures, if there are several.
        key: the column of Parquet files that has the keys; None for the numbers of rows.
        key_by: end of keys in tars: the first `dot` of a file's name, or the last, `stem`.
        track: wraps the shards to show progress, such as `lambda items, title, total: tqdm(items,
            title, total)`.

    Raises:
        InputError: if no shard is found.
        ConfigError: if two measures have one name, or decoding processes couldn't import one.
        OutputError: if the output can't be written, belongs to another configuration, or another
            run writes there.
    """
    patterns = [shards] if isinstance(shards, str | PathLike) else shards
    reading = Reading(image=image, key=key, key_by=key_by)
    plan = plan_shards([fspath(pattern) for pattern in patterns], reading)
    plan.check_found()
    check_output(fspath(output), {*plan.folders, plan.root}, plan)
    folder = OutputFolder(fspath(output))
    further = (*([Hashes(hashes)] if hashes else ()), *measures)
    for measure in further if decode_workers else ():
        if type(measure).__module__ == "__main__":
            raise ConfigError(
                f"the measure {measure.name} is defined in a script or a notebook, where "
                "decoding processes can't find it: put it into a module, or pass "
                "decode_workers=0"
            )
    contents = contents_by(scorer, further)
    folder.claim(contents, overwrite=overwrite)
    plan = folder.placed(plan)
    tasks = [task for task in plan if task.annotation not in folder.committed]
    if not tasks and folder.is_finished:
        return []
    outcomes: list[ShardReport | FailedShard] = []
    started = perf_counter()
    decoder = make_decoder(decode_workers, scorer.pin)
    with closing(decoder), folder.hold(), ManifestWriter() as manifest:
        folder.begin(plan, contents)
        for task in track(tasks, "scoring", len(tasks)):
            outcome = _attempt(task, scorer, folder, decoder, further, picture_timeout)
            outcomes.append(outcome)
            manifest.add(outcome)
        complete(
            folder,
            plan,
            manifest,
            contents=contents,
            actors=0,
            seconds=perf_counter() - started,
        )
    return outcomes


def _attempt(
    task: ShardTask,
    scorer: ImageScorer,
    folder: OutputFolder,
    decoder: Decoder,
    measures: Sequence[Measure],
    picture_timeout: float,
) -> ShardReport | FailedShard:
    try:
        report = annotate(
            task,
            scorer,
            folder.url,
            decoder,
            measures=measures,
            picture_timeout=picture_timeout,
            lease=folder.lease,
        )
    except (ShardError, MemoryError, RuntimeError) as error:
        if not isinstance(error, ShardError) and not is_starved(error):
            raise
        problem = error.problem if isinstance(error, ShardError) else reason(error)
        failed = FailedShard(shard=task.shard, url=task.url, reason=problem, attempts=1)
        folder.write_failed(failed)
        return failed
    folder.forget_failed(task.shard)
    return report
