"""The report of a run as one HTML file: no network, no other file, both themes, any width."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from shardsift.records import PassedOver, told_of
from shardsift.reporting.axes import Axis, Labels, Places, make_axes, make_labels, order_of, pack
from shardsift.reporting.gather import ERROR_EXAMPLES, RunData
from shardsift.reporting.html import render_page
from shardsift.reporting.pictures import (
    EqualPictures,
    Fetching,
    LaysOut,
    Picture,
    bytes_each,
    choose,
    fetch,
    find_equal_pictures,
    show,
)
from shardsift.storage.files import absolute
from shardsift.text import beside, command
from shardsift.text import count as told
from shardsift.threads import Track, no_track

PRESETS = (0.1, 0.3, 0.5, 0.7)
"""Shares that the page has buttons for."""

PAGE_BYTES = 4_600_000
"""Bytes of rows and pictures together, so that a page stays below five megabytes."""

_SCRIPTS = (
    *("drawing", "plane", "thumbs", "closer"),
    *("rows", "view", "threshold", "facets", "groups", "pictures", "densities", "report"),
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Threshold of a page when it is opened: a quality, or a share of the images to keep."""

    min_quality: float | None = None
    keep_top: float = 0.3


class ReportPage:
    """A run for a page: rows in order, axes and labels to select by, and pictures."""

    def __init__(self, run: RunData) -> None:
        """Order and count the rows; no picture is fetched yet."""
        self.run = run
        self.axes: Sequence[Axis] = make_axes(run)
        self.labels: Sequence[Labels] = make_labels(run)
        self.order: Places = order_of(run)
        self.rows: dict[str, Any] = pack(run, self.order, self.axes, self.labels)
        self.copies: EqualPictures | None = find_equal_pictures(run, self.order)
        self.places: Sequence[int] = ()
        self.pictures: list[Picture] = []
        self.spread = 0
        self.problem: str | None = None

    def choose(self, count: int) -> list[int]:
        """Choose rows whose pictures are shown, and those of copies behind them."""
        chosen = choose(self.run, self.order, self.axes, self.labels, count)
        groups = self.copies.groups if self.copies and count else []
        self.spread: int = len(chosen)
        return [*chosen, *(place for group in groups for place in group)]

    def fetch(
        self,
        places: Sequence[int],
        root: str | None,
        lay_out: LaysOut | None = None,
        track: Track = no_track,
    ) -> None:
        """Fetch the pictures of chosen rows; `problem` says why some are missing."""
        budget = PAGE_BYTES - len(self.rows["data"])
        how = Fetching(
            root=root,
            bytes_each=bytes_each(budget, len(places)),
            reading=self.run.reading,
            lay_out=lay_out,
        )
        rows = self.run.table.take(pa.array(places, pa.int64())).to_pylist()
        self.places = places
        self.pictures, self.problem = fetch(rows, how, track)

    def notes(self) -> list[str]:
        """Return notes for the head of the page."""
        return list(_notes(self.run))

    def render(self, start: Start) -> str:
        """Render the page's HTML."""
        run = self.run
        title = f"Quality of {run.url.rstrip('/').rpartition('/')[2]}"
        return render_page(
            "report.html",
            _SCRIPTS,
            self._data(start),
            title=title,
            facts=list(_facts(run)),
            notes=self.notes(),
            scored=self.rows["scored"],
            problem=self.problem,
            grouping=run.grouping.label,
            rows_read=f"{run.rows_read:,}",
            copies=self.copies,
            unique=_keep_unique(run, self.copies.column) if self.copies else "",
            errors=list(_errors(run)),
            failed=run.failed,
            about=list(_about(run)),
            config=_config(run),
        )

    def _data(self, start: Start) -> dict[str, Any]:
        """Return data for the page's script."""
        run = self.run
        rank_N = np.empty(len(self.order), np.intp)
        rank_N[self.order] = np.arange(len(self.order))
        shown = [
            show(
                run.url,
                picture,
                at=int(rank_N[place]),
                extra=number >= self.spread,
                equal=int(self.copies.size_N[place]) if self.copies else 0,
            )
            for number, (place, picture) in enumerate(zip(self.places, self.pictures, strict=True))
        ]
        url = absolute(run.url)
        return {
            "command": {
                "filter": command("filter", url, *run.flags),
                "into": shlex.join(["--output", beside(url, "kept")]),
                "joining": run.grouping.flags,
                "sampled": run.is_sampled,
            },
            "start": {
                "minQuality": start.min_quality,
                "keepTop": start.keep_top if start.min_quality is None else None,
            },
            "presets": sorted({*PRESETS, start.keep_top}),
            "axes": [
                _without_codes(axis, "name", "label", "sql", "edges", "unit") for axis in self.axes
            ],
            "labels": [
                _without_codes(label, "name", "label", "sql", "names", "literals", "rare")
                for label in self.labels
            ],
            "rows": self.rows,
            "pictures": shown,
            "equal": self._equal(),
            "scale": colour_scale(self.pictures),
        }

    def _equal(self) -> list[list[int]]:
        """Return the places of copies among the pictures, group by group."""
        groups: list[list[int]] = []
        place = self.spread
        for group in self.copies.groups if self.copies and self.pictures else []:
            groups.append(list(range(place, place + len(group))))
            place += len(group)
        return groups


def _without_codes(one: Axis | Labels, *names: str) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names}


def colour_scale(pictures: Sequence[Picture]) -> dict[str, float]:
    """Choose the ends of the one colour scale: nearly all patches lie between."""
    patches = [picture.patches.quality.ravel() for picture in pictures if picture.patches]
    if not patches:
        return {"low": 0.0, "high": 1.0}
    low, high = np.quantile(np.concatenate(patches), [0.02, 0.98])
    return {"low": float(low), "high": float(max(high, low + 1e-3))}


def _facts(run: RunData) -> Iterator[str]:
    """Yield the parts of the line in the head of the page."""
    rows = run.rows if run.rows is not None else run.rows_read
    further = run.passed_over.get(PassedOver.FURTHER_IMAGES, 0)
    unscored = sum(run.errors.values()) + further
    yield told(rows + further, "image")
    if unscored:
        yield f"{unscored:,} without a score"
    yield told(run.files, "shard")
    if run.failed:
        yield told(len(run.failed), "failed shard")
    quality_N = run.numbers("quality")
    if np.isfinite(quality_N).any():
        yield f"median quality {np.nanmedian(quality_N):.3f}"
    if run.record and (config := run.record.config):
        yield f"model {config.get('model', 'not recorded')}"
        yield f"crops {config.get('crops', 'not recorded')}"
        yield f"Shardsift {run.record.version}"
    if run.newest:
        yield f"scored {run.newest:%Y-%m-%d}"


def _notes(run: RunData) -> Iterator[str]:
    """Yield notes about data that is missing from the numbers."""
    if not run.is_finished and run.record:
        planned = f" of {run.planned:,}" if run.planned else ""
        state = "is still running, or was killed" if run.is_running else "has not finished"
        yield f"This run {state}: {run.files:,}{planned} shards are annotated so far."
    if run.is_sampled:
        whole = f" of {run.rows:,}" if run.rows is not None else ""
        where = "the whole run" if run.rows is not None else "the sample"
        yield (
            f"A sample: {run.rows_read:,}{whole} rows, from {run.files_read:,} of {run.files:,} "
            f"annotation files picked at random. Counts of images and errors in the head are those "
            f"of {where}, all other numbers those of the sample."
        )

    yield from (f"{line[0].upper()}{line[1:]}." for line in told_of(run.passed_over))


def _about(run: RunData) -> Iterator[tuple[str, str]]:
    yield "annotations", run.url
    if record := run.record:
        yield "shards", record.root
        for name in ("model", "pretrained", "crops", "dtype"):
            if record.config.get(name):
                yield name, str(record.config[name])
        yield "fingerprint", record.fingerprint
        yield "Shardsift", record.version
    if run.newest:
        yield "newest annotation", f"{run.newest:%Y-%m-%d %H:%M} UTC"
    if run.summary:
        yield "throughput", f"{run.summary.images_per_second:,.1f} images/s"


def _config(run: RunData) -> str:
    return run.record.model_dump_json(indent=2) if run.record else "not recorded"


def _keep_unique(run: RunData, column: str) -> str:
    url = absolute(run.url)
    rule = ("--unique", column, "--keep-top", "1")
    return command("filter", url, *rule, "--output", beside(url, "unique"))


def _errors(run: RunData) -> Iterator[tuple[str, int, list[tuple[str, str, str]]]]:
    """Yield each code, how often it occurs, and examples: key, shard and message."""
    codes, keys, shards, messages = (
        run.strings(name) for name in ("error", "key", "shard", "error_message")
    )
    for code, count in run.errors.items():
        places = np.flatnonzero(codes == code)[:ERROR_EXAMPLES]
        yield code, count, [(str(keys[n]), str(shards[n]), str(messages[n])) for n in places]
