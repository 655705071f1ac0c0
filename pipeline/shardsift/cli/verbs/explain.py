"""`shardsift explain`: cues of single images, and heat maps."""

from __future__ import annotations

from pathlib import Path

from shardsift.cli.configs import ExplainConfig
from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE
from shardsift.cli.tables import Sheet
from shardsift.errors import ImageError, InputError
from shardsift.redaction import reason
from shardsift.report.explain import Explanation, draw, explain
from shardsift.scoring.scorer import Scorer
from shardsift.storage.files import identify

_COLUMNS = ("quality", "q_sim", "q_mag", "w_sim")


def run(config: ExplainConfig, console: PlainConsole) -> int:
    """Explain each image, tables on stdout, pictures below the output; return the exit code."""
    for url in config.images:
        _check_there(url)
    with console.busy("loading the model"):
        scorer = Scorer(config.scoring(), device=config.device)
    out = PlainConsole()
    explanations: list[Explanation] = []
    for url in config.images:
        explanation = _explain(url, scorer)
        explanations.append(explanation)
        if config.every_crop and not config.as_json:
            out.tabulate(crop_sheet(explanation))
        if config.output is not None:
            console.say(f"heat map: {_save(explanation, config.output)}")
    if config.as_json:
        out.document([{"image": one.name, "crops": one.rows()} for one in explanations])
        return DONE
    headings = ["image", "size", "crops", *_COLUMNS, "lowest patch"]
    out.tabulate(Sheet(title="", headings=headings, rows=[*map(_row, explanations)]))
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


def _check_there(url: str) -> None:
    """Tell of a missing file before a model is loaded, which takes seconds."""
    try:
        identify(url, url)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{url}: can't be read: {reason(error)}") from error


def _explain(url: str, scorer: Scorer) -> Explanation:
    try:
        return explain(url, scorer)
    except ImageError as error:
        raise InputError(f"{error} ({error.code})") from error


def _row(explanation: Explanation) -> list[str]:
    height, width = explanation.image.shape[:2]
    score, worst = explanation.score, explanation.worst
    cells = [f"{getattr(score, cue).mean():.4f}" for cue in _COLUMNS]
    lowest = ""
    if worst is not None:
        top, left = explanation.corners[worst]
        lowest = f"{score.quality[worst]:.4f} at {left},{top}"
    return [explanation.name, f"{width}x{height}", str(score.crops), *cells, lowest]


def _save(explanation: Explanation, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stem = Path(explanation.name).stem
    path, number = folder / f"{stem}-heat.png", 2
    while path.exists():  # two images of one name in different folders, or an earlier picture
        path, number = folder / f"{stem}-heat-{number}.png", number + 1
    draw(explanation).savefig(path, dpi=110)
    return path
