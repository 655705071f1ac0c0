"""`shardsift explain`: cues of single images, and heat maps."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from shardsift.cli.configs import ExplainConfig
from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE
from shardsift.errors import ImageError, InputError
from shardsift.report.explain import Explanation, draw, explain
from shardsift.scoring.scorer import Scorer
from shardsift.shards.images import decode_rgb
from shardsift.storage.files import read_bytes

_COLUMNS = ("quality", "q_sim", "q_mag", "w_sim")


def run(config: ExplainConfig, console: PlainConsole) -> int:
    """Explain each image, tables on stdout, pictures below the output; return the exit code."""
    with console.status("loading the model"):
        scorer = Scorer(config.scoring(), device=config.device)
    out = PlainConsole()
    overview = _table("image", "size", "crops", *_COLUMNS, "lowest patch")
    for url in config.images:
        explanation = _explain(url, scorer)
        _add(overview, explanation)
        if config.every_crop:
            out.print(crop_table(explanation))
        if config.output is not None:
            console.print(f"heat map: {_save(explanation, config.output)}")
    out.print(overview)
    return DONE


def crop_table(explanation: Explanation) -> Table:
    """Tabulate the crops: their left and top corner, and their cues."""
    table = _table("crop (left, top)", *_COLUMNS)
    table.title = explanation.name
    for crop, cues in explanation.rows().items():
        table.add_row(crop, *(f"{cues[cue]:.4f}" for cue in _COLUMNS))
    return table


def _explain(url: str, scorer: Scorer) -> Explanation:
    try:
        image = decode_rgb(read_bytes(url), scorer.config.max_pixels)
    except (OSError, ValueError, ImportError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{url}: can't be read: {reason}") from error
    except ImageError as error:
        raise InputError(f"{url}: {error.code}: {error}") from error
    return explain(image, scorer, url.rpartition("/")[2])


def _add(table: Table, explanation: Explanation) -> None:
    height, width = explanation.image.shape[:2]
    score, worst = explanation.score, explanation.worst
    cells = [f"{getattr(score, cue).mean():.4f}" for cue in _COLUMNS]
    lowest = ""
    if worst is not None:
        top, left = explanation.corners[worst]
        lowest = f"{score.quality[worst]:.4f} at {left},{top}"
    table.add_row(explanation.name, f"{width}x{height}", str(score.crops), *cells, lowest)


def _save(explanation: Explanation, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stem = Path(explanation.name).stem
    path, number = folder / f"{stem}-heat.png", 2
    while path.exists():  # two images of one name in different folders, or an earlier picture
        path, number = folder / f"{stem}-heat-{number}.png", number + 1
    draw(explanation).savefig(path, dpi=110)
    return path


def _table(*headings: str) -> Table:
    table = Table()
    for place, heading in enumerate(headings):
        table.add_column(
            heading,
            justify="right" if place else "left",
            # A narrow terminal breaks names, never numbers.
            no_wrap=heading in _COLUMNS,
            overflow="fold",
        )
    return table
