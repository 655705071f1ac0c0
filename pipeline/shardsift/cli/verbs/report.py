"""`shardsift report`: the page that a person looks at."""

from __future__ import annotations

from collections.abc import Sequence

from shardsift.cli.console import DONE, PlainConsole
from shardsift.config.verbs import ReportConfig
from shardsift.errors import ConfigError
from shardsift.outputs.records import recorded_config
from shardsift.report.gather import RunData, gather
from shardsift.report.page import Report, Start
from shardsift.report.pictures import LaysOut
from shardsift.storage.files import absolute, commit, join
from shardsift.text import beside, count

REPORT = "report.html"


def run(config: ReportConfig, console: PlainConsole) -> int:
    """Write `report.html` below the output; return the exit code."""
    if config.model is None and config.pretrained is not None:
        raise ConfigError("--pretrained: are the weights of --model, which is missing")
    data = gather(
        config.annotations,
        limit=config.rows,
        per=config.per,
        join=config.join,
        beside=config.beside,
        track=console.track,
    )
    recorded = data.record.place() if data.record else None
    root = absolute(config.shards) if config.shards is not None else recorded
    report = Report(data)
    places = report.choose(config.thumbnails)
    lay_out = _heat_maps(config, data, places, console)
    report.fetch(places, root, lay_out, console.track)
    start = Start(min_quality=config.min_quality, keep_top=config.keep_top)
    page = report.render(start).encode()
    location = join(config.output, REPORT)
    commit(location, page)
    for note in (report.problem, *report.notes(), _without_heat_maps(config, data, places)):
        if note is not None:
            console.say(note)
    console.say(f"report: {location} ({len(page) / 1e6:.1f} MB)")
    if config.open:
        console.open_page(absolute(location))
    keep = ["--keep-top", f"{config.keep_top:g}"]
    if config.min_quality is not None:
        keep = ["--min-quality", f"{config.min_quality:g}"]
    url = config.annotations
    console.suggest("filter", url, *data.flags, *keep, "--output", beside(url, "kept"))
    return DONE


def _heat_maps(
    config: ReportConfig, data: RunData, places: Sequence[int], console: PlainConsole
) -> LaysOut | None:
    """Load the model that lays out heat maps, and say what they cost; None without one."""
    if config.model is None or not places:
        return None
    with console.busy("loading the model"):  # torch, too, takes seconds
        from shardsift.report.explain import HeatMaps
        from shardsift.scoring.scorer import Scorer

        scoring = recorded_config(data.record, model=config.model, pretrained=config.pretrained)
        scorer = Scorer(scoring, device=config.device)
    crops = count(_crops(data, places), "crop")
    console.say(f"heat maps: {crops} of {count(len(places), 'picture')} to score")
    return HeatMaps(scorer)


def _without_heat_maps(config: ReportConfig, data: RunData, places: Sequence[int]) -> str | None:
    """Say how to have heat maps, and what they cost, if the page has none."""
    model = data.record.config.get("model") if data.record else None
    if config.model is not None or model is None or not places:
        return None
    return f"no heat maps: --model {model} scores {count(_crops(data, places), 'crop')} for them"


def _crops(data: RunData, places: Sequence[int]) -> int:
    return sum(data.table["crops"].take(places).to_pylist())
