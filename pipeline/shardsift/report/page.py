"""The report of a run as one HTML file: no network, no other file, both themes, any width."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import islice

import numpy as np

from shardsift.commands import beside, command
from shardsift.config import ATTRIBUTE_PREFIX
from shardsift.report.charts import density, histogram
from shardsift.report.gather import ERROR_EXAMPLES, Floats, RunData
from shardsift.report.groups import EqualPictures, find_equal_pictures
from shardsift.report.live import PRESETS, Start, live_data
from shardsift.report.thumbnails import Thumbnail, choose, fetch_thumbnails
from shardsift.storage.files import absolute
from shardsift.threads import Track, no_track

_SHEET = 12
"""Thumbnails of a decile that are seen; the others wait for the slider."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """What is shown of a run's pictures.

    `spread` is over all qualities; `equal` are those of each group of `copies`, the best one first;
    `problem` says why some are missing.
    """

    spread: Sequence[Thumbnail]
    copies: EqualPictures | None = None
    equal: Sequence[Sequence[Thumbnail]] = ()
    problem: str | None = None


def fetch_pictures(run: RunData, root: str | None, count: int, track: Track = no_track) -> Pictures:
    """Fetch so many pictures over all qualities, and some that are equal; none without a `root`."""
    spread, copies = choose(run, count), find_equal_pictures(run)
    groups = copies.groups if copies and count else []
    places = [*spread, *(place for group in groups for place in group)]
    found, problem = fetch_thumbnails(run, root, places, track)
    others = iter(found[len(spread) :])
    return Pictures(
        spread=found[: len(spread)],
        copies=copies,
        equal=[list(islice(others, len(group))) for group in groups],
        problem=problem,
    )


def render(run: RunData, pictures: Pictures, start: Start) -> str:
    """Render the page's HTML."""
    quality_N = run.numbers("quality")
    parts = {
        "title": escape(f"Shardsift report: {run.url.rstrip('/').rpartition('/')[2]}"),
        "lead": escape(f"Annotations in {run.url}"),
        "sampled": _sampling(run),
        "tiles": _tiles(run, quality_N),
        "histograms": _histograms(run),
        "densities": _densities(run),
        "pictures": escape(_about_pictures(pictures)),
        "deciles": _deciles(pictures.spread, quality_N),
        "equal": _equal(run, pictures),
        "errors": _errors(run),
        "fingerprint": escape(run.record.fingerprint if run.record else "not recorded"),
        "config": escape(run.record.model_dump_json(indent=2) if run.record else "not recorded"),
        # `</` ends a script, whatever its type, and `<!--` begins one inside it.
        "data": json.dumps(live_data(run, start)).replace("<", "\\u003c"),
        "presets": "\n".join(
            f'<button type="button" data-keep="{share}">{share:.0%}</button>' for share in PRESETS
        ),
        "css": _file("page.css"),
        "js": _file("page.js"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _file("page.html"))


def _file(name: str) -> str:
    return (files("shardsift.report") / name).read_text()


def _sampling(run: RunData) -> str:
    if not run.is_sampled:
        return ""
    whole = f" of {run.rows:,}" if run.rows is not None else ""
    return (
        f'<p class="note">A sample: {run.rows_read:,}{whole} rows, from {run.files_read:,} of '
        f"{run.files:,} annotation files picked at random. Counts of images and errors are those "
        f"of {'the whole run' if run.rows is not None else 'the sample'}.</p>"
    )


def _tiles(run: RunData, quality_N: Floats) -> str:
    rows = run.rows if run.rows is not None else run.rows_read
    errors = sum(run.errors.values())
    finite = quality_N[np.isfinite(quality_N)]
    speed = run.summary.images_per_second if run.summary else None
    tiles = {
        "samples": f"{rows:,}",
        "scored": f"{rows - errors:,}",
        "without a score": f"{errors:,}",
        "shards": f"{run.files:,}",
        "shards given up": f"{len(run.failed):,}",
        "median quality": f"{np.median(finite):.3f}" if len(finite) else "none",
        "throughput": f"{speed:,.1f}/s" if speed else "not recorded",
    }
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles.items())


def _histograms(run: RunData) -> str:
    charts = {
        "quality": histogram(run.numbers("quality"), "quality", name="quality-chart"),
        "q_sim, the similarity cue": histogram(run.numbers("q_sim"), "q_sim"),
        "q_mag, the magnitude cue": histogram(run.numbers("q_mag"), "q_mag"),
        "lowest crop": histogram(run.numbers("quality_min"), "quality_min"),
        **{
            escape(name): histogram(run.numbers(name), escape(name))
            for name in run.table.column_names
            if name.startswith(ATTRIBUTE_PREFIX)
        },
    }
    return _figures(charts)


def _densities(run: RunData) -> str:
    quality, q_sim, q_mag = (run.numbers(name) for name in ("quality", "q_sim", "q_mag"))
    width, height = run.numbers("width"), run.numbers("height")
    side, mega = np.minimum(width, height), width * height / 1e6
    return _figures(
        {
            "cue against cue": density(q_sim, q_mag, "q_sim", "q_mag"),
            "quality against resolution": density(
                side, quality, "shorter side, px", "quality", log_x=True
            ),
            "quality against megapixels": density(
                mega, quality, "megapixels", "quality", log_x=True
            ),
        }
    )


def _figures(charts: Mapping[str, str]) -> str:
    return "".join(
        f"<figure><figcaption>{caption}</figcaption>{chart or '<p>no scored images</p>'}</figure>"
        for caption, chart in charts.items()
    )


def _about_pictures(pictures: Pictures) -> str:
    shown = sum(thumbnail.picture is not None for thumbnail in pictures.spread)
    text = f"{shown} pictures at even ranks of quality, up to {_SHEET} of each tenth shown here."
    return text if pictures.problem is None else f"{text} {pictures.problem}"


def _equal(run: RunData, pictures: Pictures) -> str:
    """Show groups of equal pictures, if hashes tell of any."""
    copies = pictures.copies
    if copies is None:
        return ""
    told = f"<p>Of {run.rows_read:,} rows {copies.copies:,} are copies of a better one"
    told += f" by <code>{copies.column}</code>"
    if not copies.groups:
        return _section("equal", "Equal pictures", f"{told}.</p>")
    rule = ["--unique", copies.column, "--keep-top", "1"]
    keeping = command(
        "filter", absolute(run.url), *rule, "--output", beside(absolute(run.url), "unique")
    )
    told += f"; <code>{escape(keeping)}</code> keeps the first of each group."
    told += " Some of the largest:</p>"
    groups = "".join(
        f'<div class="sheet group">{"".join(_thumb(one, hidden=False) for one in group)}</div>'
        for group in pictures.equal
    )
    return _section("equal", "Equal pictures", told + groups)


def _section(name: str, title: str, content: str) -> str:
    heading = f'<h2 id="h-{name}">{title}</h2>'
    return f'<section aria-labelledby="h-{name}">{heading}{content}</section>'


def _deciles(thumbnails: Sequence[Thumbnail], quality_N: Floats) -> str:
    finite = quality_N[np.isfinite(quality_N)]
    if not len(finite):
        return "<p>Nothing was scored.</p>"
    edges = np.quantile(finite, np.linspace(0, 1, 11))
    place_T = np.searchsorted(edges[1:-1], [t.quality for t in thumbnails], side="right")
    sheets: list[str] = []
    for decile in range(10):
        here = [t for t, place in zip(thumbnails, place_T, strict=True) if place == decile]
        seen = set(np.linspace(0, len(here) - 1, min(_SHEET, len(here))).astype(int).tolist())
        pictures = "".join(_thumb(t, hidden=n not in seen) for n, t in enumerate(here))
        low, high = edges[decile], edges[decile + 1]
        sheets.append(
            f"<h3>{decile * 10} to {decile * 10 + 10} %: quality {low:.3f} to {high:.3f}</h3>"
            f'<div class="sheet">{pictures}</div>'
        )
    return f'<div id="deciles">{"".join(sheets)}</div>'


def _thumb(thumbnail: Thumbnail, *, hidden: bool) -> str:
    t = thumbnail
    words = escape(
        f"{t.key} in {t.shard}: quality {t.quality:.4f}, q_sim {t.q_sim:.4f}, "
        f"q_mag {t.q_mag:.4f}, {t.width}x{t.height}"
    )
    name = escape(f"{t.key}, quality {t.quality:.3f}")
    picture = f'<img src="{t.picture}" alt="{name}">' if t.picture else '<b class="none">—</b>'
    return (
        f'<button type="button" class="thumb" title="{words}" data-quality="{t.quality!r}"'
        f'{" hidden" if hidden else ""}>{picture}<span class="q">{t.quality:.3f}</span></button>'
    )


def _errors(run: RunData) -> str:
    if not run.errors and not run.failed:
        return "<p>None.</p>"
    lines: list[str] = []
    codes, keys, shards, messages = (
        run.strings(name) for name in ("error", "key", "shard", "error_message")
    )
    for code, count in run.errors.items():
        examples = "".join(
            f"<li><code>{escape(str(keys[place]))}</code> in {escape(str(shards[place]))}: "
            f"{escape(str(messages[place]))}</li>"
            for place in np.flatnonzero(codes == code)[:ERROR_EXAMPLES]
        )
        lines.append(f"<h3>{escape(code)}: {count:,}</h3><ul>{examples}</ul>")
    if run.failed:
        items = "".join(f"<li>{escape(name)}</li>" for name in run.failed[:20])
        lines.append(f"<h3>shards given up: {len(run.failed):,}</h3><ul>{items}</ul>")
    return "".join(lines)
