"""`shardsift explain`: cues of single images, and heat maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shardsift.cli.console import DONE, PlainConsole
from shardsift.cli.tables import Sheet
from shardsift.config import ScoreConfig
from shardsift.config.verb_settings import ExplainConfig
from shardsift.errors import ImageError, InputError
from shardsift.images.decode import AnyImage
from shardsift.outputs.json_records import recorded_config
from shardsift.outputs.output_folder import find_annotations
from shardsift.redaction import reason
from shardsift.reporting.explanation import Explanation, Scale, common_scale, draw, explain
from shardsift.reporting.pictures import find_samples, read_image
from shardsift.scoring.scorer import Scorer
from shardsift.storage.files import absolute, identify

_COLUMNS = ("quality", "q_sim", "q_mag", "w_sim")
_IN_RUN = "in the run"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """An image to explain; `quality` is what its annotation says, None if it is a file."""

    name: str
    image: AnyImage
    quality: float | None = None


def run(config: ExplainConfig, console: PlainConsole) -> int:
    """Explain each image, tables on stdout, pictures below the output; return the exit code."""
    scoring, asked = _of_run(config, console) if config.annotations else _of_files(config)
    with console.busy("loading the model"):
        scorer = Scorer(scoring, device=config.device)
    explained = [(one, _explain(one, scorer)) for one in asked]
    out = PlainConsole()
    if config.output is not None:
        scale = common_scale(explanation for _, explanation in explained)
        for _, explanation in explained:
            console.say(f"heat map: {_save(explanation, config.output, scale)}")
    if config.as_json:
        out.document([_as_json(*one) for one in explained])
        return DONE
    console.say(f"model: {scorer.config.model}, {scorer.config.crops} crops, {scorer.config.dtype}")
    if config.every_crop:
        out.tabulate(*(crop_sheet(explanation) for _, explanation in explained))
    in_run = [_IN_RUN] if config.annotations else []
    headings = ["image", "size", "crops", *_COLUMNS, "lowest patch", *in_run]
    rows = [_row(*one)[: len(headings)] for one in explained]
    out.tabulate(Sheet(title="", headings=headings, rows=rows))
    return DONE


def crop_sheet(explanation: Explanation) -> Sheet:
    """Tabulate the crops: their left and top corner, and their cues."""
    return Sheet(
        title=explanation.name,
        headings=["crop (left, top)", *_COLUMNS],
        rows=[
            [crop, *(f"{cues[cue]:.4f}" for cue in _COLUMNS)]
            for crop, cues in explanation.rows().items()
        ],
    )


def _of_files(config: ExplainConfig) -> tuple[ScoreConfig, Iterator[_Asked]]:
    """Take image files. Raises InputError, before a model is loaded, if one is missing."""
    for url in config.images:
        try:
            identify(url, url)
        except (OSError, ValueError, ImportError) as error:
            raise InputError(f"{url}: can't be read: {reason(error)}") from error
    files = (_Asked(name=url.rpartition("/")[2], image=url) for url in config.images)
    return config.scoring(), files


def _of_run(config: ExplainConfig, console: PlainConsole) -> tuple[ScoreConfig, Iterator[_Asked]]:
    """Look up samples of a run, and what scored them. Raises InputError."""
    assert config.annotations
    folder = find_annotations(config.annotations)
    record = folder.record
    given = config.model_fields_set & ScoreConfig.model_fields.keys()
    scoring = recorded_config(record, **{name: getattr(config, name) for name in given})
    rows = find_samples(folder, config.key, config.shard, console.track)
    root = absolute(config.shards) if config.shards is not None else record and record.place()
    assert root, "a record says how they were scored"

    def read() -> Iterator[_Asked]:
        for row in rows:
            try:
                image = read_image(root, row, folder.reading)
            except (OSError, ValueError, ImageError) as error:
                problem = f"{row['key']} in {row['shard']}: {reason(error)}"
                hint = "if the shards have moved, name their folder with --shards"
                raise InputError(f"{problem}; {hint}") from error
            yield _Asked(name=row["key"], image=image, quality=row["quality"])

    return scoring, read()


def _explain(asked: _Asked, scorer: Scorer) -> Explanation:
    try:
        return explain(asked.image, scorer, asked.name)
    except ImageError as error:
        raise InputError(f"{error} ({error.code})") from error


def _as_json(asked: _Asked, explanation: Explanation) -> dict[str, object]:
    found: dict[str, object] = {"image": explanation.name, "model": explanation.model}
    if asked.quality is not None:
        found["quality_in_run"] = asked.quality
    return found | {"crops": explanation.rows()}


def _row(asked: _Asked, explanation: Explanation) -> list[str]:
    height, width = explanation.image.shape[:2]
    score, worst = explanation.score, explanation.worst
    cells = [f"{getattr(score, cue):.4f}" for cue in _COLUMNS]
    lowest = ""
    if worst is not None:
        top, left = explanation.corners[worst]
        lowest = f"{score.per_crop.quality[worst]:.4f} at {left},{top}"
    in_run = "" if asked.quality is None else f"{asked.quality:.4f}"
    return [explanation.name, f"{width}x{height}", str(score.crops), *cells, lowest, in_run]


def _save(explanation: Explanation, folder: Path, scale: Scale) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stem = Path(explanation.name).stem
    path, number = folder / f"{stem}-heat.png", 2
    while path.exists():  # two images of one name in different folders, or an earlier picture
        path, number = folder / f"{stem}-heat-{number}.png", number + 1
    draw(explanation, scale).savefig(path, dpi=110)
    return path
