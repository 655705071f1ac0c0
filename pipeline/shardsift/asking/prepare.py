"""What is checked before anything is asked: there are embeddings, and this is their model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shardsift.asking.answers import AskInputs, AskTask
from shardsift.asking.ask_config import AskConfig
from shardsift.asking.documents import AskRecord
from shardsift.asking.folder import AskFolder
from shardsift.config import Attributes, ScoreConfig
from shardsift.errors import ConfigError, InputError
from shardsift.outputs.folder import (
    OutputFolder,
    check_apart,
    check_output,
    find_annotations,
)
from shardsift.outputs.records import RunRecord, recorded_config
from shardsift.outputs.survey import survey
from shardsift.storage.files import absolute, join
from shardsift.threads import Track, no_track

if TYPE_CHECKING:  # a mistake is told before torch is loaded
    from shardsift.scoring.questions import Questions

LoadQuestions = Callable[[ScoreConfig, Attributes], "Questions"]
"""Lets the model of a run read what is asked, which takes seconds. Raises ModelError."""


def load_questions(config: ScoreConfig, attributes: Attributes) -> Questions:
    """Load the model's text tower, and let it read what is asked."""
    from shardsift.scoring import questions  # imports torch

    return questions.load_questions(config, attributes)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """An ask that passed its checks; `tasks` are all shards, `inputs` None if all are answered."""

    config: AskConfig
    folder: AskFolder
    record: AskRecord
    tasks: Sequence[AskTask]
    inputs: AskInputs | None

    @property
    def open_tasks(self) -> list[AskTask]:
        """The shards that have no answers yet."""
        return [task for task in self.tasks if task.annotation not in self.folder.committed]


def prepare(
    config: AskConfig, track: Track = no_track, load: LoadQuestions = load_questions
) -> Ask:
    """Check that annotations have embeddings, and the output can be written; load the model.

    Changes nothing on disk but for a probe that it removes.

    Raises:
        UserError: with one line that says what to do.
        AnnotationError: if an annotation is damaged.
    """
    attributes = config.asked()
    if not attributes:
        raise ConfigError("nothing is asked; name an --attribute, or a file of --attributes")
    if config.output is None:
        raise ConfigError("no --output; name a folder or URL for the answers")
    source = find_annotations(config.annotations)
    scored = _record_with_embeddings(source)
    check_apart(config.output, source.url)
    check_output(config.output, ())
    found = survey(source, track=track)
    folder = AskFolder(config.output)
    record = AskRecord(
        attributes=attributes,
        fingerprint=found.fingerprint,
        manifest=_manifest_of(source),
        annotations=absolute(source.url),
    )
    folder.claim(record, overwrite=config.overwrite)
    tasks = [
        AskTask(shard=part.shard, annotation=part.name, url=join(source.url, part.name))
        for part in found.parts
    ]
    inputs = None
    if {task.annotation for task in tasks} - folder.committed:
        inputs = AskInputs(
            annotations=source.url,
            questions=_read_questions(config, scored, load),
            output=folder.url,
        )
    return Ask(config=config, folder=folder, record=record, tasks=tasks, inputs=inputs)


def _record_with_embeddings(source: OutputFolder) -> RunRecord:
    if source.is_compacted:
        raise InputError(
            f"{source.url}: holds compacted annotations; their embeddings lie beside those that "
            "were compacted: name that folder"
        )
    if source.record is None:
        raise InputError(f"{source.url}: no _run.json here; name the output of a `score` run")
    if not source.record.extras.embeddings:
        raise InputError(
            f"{source.url}: has no embeddings to ask; score with --embeddings, or ask with "
            "--attribute while scoring"
        )
    return source.record


def _manifest_of(source: OutputFolder) -> str:
    summary = source.read_summary()
    assert summary, "a run that is complete has one"
    return summary.manifest


def _read_questions(config: AskConfig, scored: RunRecord, load: LoadQuestions) -> Questions:
    """Let the model of a run read what is asked. Raises ConfigError if it is another model."""
    moved = {"model": config.model, "pretrained": config.pretrained}
    questions = load(recorded_config(scored, **moved), config.asked())
    if questions.fingerprint != scored.fingerprint:
        raise ConfigError(
            f"these are not the weights that made {config.annotations} (fingerprint "
            f"{questions.fingerprint} here, {scored.fingerprint} there); name those with "
            "--pretrained, and a model config that has moved with --model"
        )
    return questions
