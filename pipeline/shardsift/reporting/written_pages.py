"""The pages of `report` and `compare`, from settings to files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from shardsift.config.verb_settings import CompareConfig, ReportConfig
from shardsift.documents import as_json
from shardsift.errors import ConfigError
from shardsift.outputs.json_records import RunRecord, recorded_config
from shardsift.progress import Display
from shardsift.reporting.comparison import Comparison, compare_pairs, pair_up
from shardsift.reporting.comparison_page import ComparisonPage
from shardsift.reporting.gather import RunData, gather
from shardsift.reporting.page import ReportPage, Start
from shardsift.reporting.pictures import LaysOut
from shardsift.storage.files import absolute, commit, join
from shardsift.text import count


@dataclass(frozen=True, kw_only=True)
class PageResult:
    """A page that was written.

    Attributes:
        url: its file.
        bytes: its size.
        notes: hints for readers, such as the reason for missing pictures.
        flags: flags for `filter` to read the same columns.
    """

    url: str
    bytes: int
    notes: Sequence[str] = ()
    flags: Sequence[str] = field(default=(), repr=False)


def write_report(config: ReportConfig, display: Display) -> PageResult:
    """Write `report.html` below the output.

    Raises:
        UserError: if the annotations, a table or the model can't be used.
        AnnotationError: if an annotation file is damaged.
    """
    if config.model is None and config.pretrained is not None:
        raise ConfigError("--pretrained needs --model")
    data = gather(
        config.annotations,
        limit=config.rows,
        per=config.per,
        join=config.join,
        beside=config.beside,
        track=display.track,
    )
    report = ReportPage(data)
    places = report.choose(config.thumbnails)
    lay_out = _heat_maps(config, data, places, display)
    report.fetch(places, _folder_of_shards(config.shards, data.record), lay_out, display.track)
    page = report.render(Start(min_quality=config.min_quality, keep_top=config.keep_top)).encode()
    url = join(config.output, "report.html")
    commit(url, page)
    notes = [report.problem, *report.notes(), _without_heat_maps(config, data, places)]
    told = [note for note in notes if note is not None]
    return PageResult(url=url, bytes=len(page), notes=told, flags=data.flags)


def _folder_of_shards(given: str | None, record: RunRecord | None) -> str | None:
    """Return where the shards lie: the folder that is given, or the recorded one."""
    return absolute(given) if given is not None else record and record.place()


def _heat_maps(
    config: ReportConfig, data: RunData, places: Sequence[int], display: Display
) -> LaysOut | None:
    """Load the model for heat maps, and print the number of crops; None without a model."""
    if config.model is None or not places:
        return None
    with display.busy("loading the model"):  # importing torch takes seconds, too
        from shardsift.reporting.explanation import HeatMaps
        from shardsift.scoring.scorer import Scorer

        scoring = recorded_config(data.record, model=config.model, pretrained=config.pretrained)
        scorer = Scorer(scoring, device=config.device)
    crops = count(_crops(data, places), "crop")
    display.say(f"heat maps: {crops} of {count(len(places), 'picture')} to score")
    return HeatMaps(scorer)


def _without_heat_maps(config: ReportConfig, data: RunData, places: Sequence[int]) -> str | None:
    """Describe how to get heat maps, and their cost, if the page has none."""
    model = data.record.config.get("model") if data.record else None
    if config.model is not None or model is None or not places:
        return None
    return f"no heat maps: --model {model} scores {count(_crops(data, places), 'crop')} for them"


def _crops(data: RunData, places: Sequence[int]) -> int:
    return sum(data.table["crops"].take(places).to_pylist())


@dataclass(frozen=True, kw_only=True)
class CompareResult:
    """Result of `compare`.

    Attributes:
        comparison: the differences.
        json_url: `comparison.json`, if an output was asked for.
        page: `comparison.html`, if an output was asked for.
    """

    run_a: str
    run_b: str
    comparison: Comparison
    json_url: str | None = None
    page: PageResult | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the content of `comparison.json`."""
        return {"a": self.run_a, "b": self.run_b} | asdict(self.comparison)


def compare_runs(config: CompareConfig, display: Display) -> CompareResult:
    """Compare two runs; write JSON and a page, if there is an output.

    Raises:
        InputError: if fewer than two samples have a score in both.
    """
    with display.busy("reading annotations"):
        pairs = pair_up(config.run_a, config.run_b, config.beside)
        comparison = compare_pairs(pairs, config.keep_top)
    result = CompareResult(run_a=config.run_a, run_b=config.run_b, comparison=comparison)
    if config.output is None:
        return result
    json_url, url = (join(config.output, f"comparison.{kind}") for kind in ("json", "html"))
    commit(json_url, as_json(result.as_dict()))
    page = ComparisonPage(pairs, comparison)
    root = _folder_of_shards(config.shards, pairs.folders[0].record)
    page.fetch(config.thumbnails, root, display.track)
    html = page.render(config.keep_top).encode()
    commit(url, html)
    notes = [] if page.problem is None else [page.problem]
    written = PageResult(url=url, bytes=len(html), notes=notes)
    return replace(result, json_url=json_url, page=written)
