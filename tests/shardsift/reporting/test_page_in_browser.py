"""In Chromium, with real pictures: selections on the page equal those of DuckDB and `filter`."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from shardsift.cli.app import main
from shardsift.config import Attributes
from shardsift.records import CropScores, ImageScore, RgbImage
from shardsift.reporting.gather import gather
from shardsift.reporting.page import ReportPage, Start
from tests.conftest import SHARED
from tests.fakes import FakeScorer
from tests.outputs import kept_rows, write_run
from tests.pages import RULES
from tests.samples import encoded, write_tar

OpenPage = Callable[..., Page]

NASTY = "</script><img src=x onerror=hacked=1><script>hacked=1</script>'\""


class ColourScorer(FakeScorer):
    """Cues of their own, read off the colours, so that they differ as those of a model do."""

    attributes: Attributes = MappingProxyType({"red": (("red", "blue"),)})

    def score(self, images: Any) -> Any:
        """Yield a score of each image."""
        for image in images:
            yield colour_score(image)


def colour_score(image: RgbImage) -> ImageScore:
    small = image[::8, ::8].astype(np.float32) / 255
    light, contrast, red = small.mean(), min(2 * small.std(), 1), small[..., 0].mean()
    crops = [[light, (light + contrast) / 2], [contrast, light], [red, contrast], [0.5, 0.6]]
    quality, q_sim, q_mag, w_sim = np.array(crops, np.float32)
    attributes = np.array([[red, red]], np.float32)
    return ImageScore(
        per_crop=CropScores(
            quality=quality, q_sim=q_sim, q_mag=q_mag, w_sim=w_sim, attributes=attributes
        )
    )


@pytest.fixture(name="scores", scope="module")
def real_scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations of 3,200 real pictures in two folders, and of a third with three bad ones."""
    folder = tmp_path_factory.mktemp("real")
    if not (SHARED / "data").is_dir():
        pytest.skip(f"{SHARED / 'data'} is not on this machine")
    for part in ("agiqa3k", "photos"):
        (folder / "corpus" / part).mkdir(parents=True)
        for tar in sorted((SHARED / "data" / part).glob("*.tar")):
            (folder / "corpus" / part / tar.name).symlink_to(tar)
    bad = [("a.jpg", b"no image"), ("b.txt", b"text alone"), ("c.jpg", encoded()[:900])]
    odd = [(f"{NASTY}.jpg", encoded(seed=1)), *bad, (f"{NASTY}2.jpg", NASTY.encode())]
    write_tar(folder / "corpus" / "it's odd" / "x.tar", odd)
    return write_run(folder / "corpus", folder / "scores", ColourScorer())


@pytest.fixture(name="html", scope="module")
def the_page(scores: Path) -> str:
    return page_of(scores, pictures=80)


def page_of(scores: Path, pictures: int, **options: Any) -> str:
    run = gather(str(scores), **options)
    report = ReportPage(run)
    report.fetch(report.choose(pictures), run.root)
    return report.render(Start())


def ask(scores: Path, question: str) -> Any:
    """DuckDB's answer, over all rows."""
    rows = f"read_parquet('{scores}/**/*.parquet')"
    answer = duckdb.execute(question.replace("ROWS", rows)).fetchall()
    return answer[0] if len(answer) == 1 else answer


def told(page: Page) -> tuple[int, int]:
    """The numbers of kept and of all images on the page."""
    drawn(page)
    words = page.locator("#share").inner_text()
    kept, whole = re.findall(r"kept: ([\d,]+) of ([\d,]+)", words)[0]
    return int(kept.replace(",", "")), int(whole.replace(",", ""))


def drawn(page: Page) -> None:
    """Wait until the selection is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def drag(page: Page, axis: str, begin: float, end: float) -> None:
    plot = page.locator(f'[data-axis="{axis}"] .plot')
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + begin * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + (begin + end) / 2 * box["width"], middle)
    page.mouse.move(box["x"] + end * box["width"], middle)
    page.mouse.up()
    drawn(page)


def words_of(page: Page) -> list[str]:
    drawn(page)
    return shlex.split(page.locator("#command").inner_text())


def where_of(page: Page) -> str:
    words = words_of(page)
    return words[words.index("--where") + 1]


def kept_by(words: list[str], output: Path) -> set[tuple[str, int]]:
    """Run the page's command with another output; return the kept rows."""
    assert words[:2] == ["shardsift", "filter"]
    assert main([*words[1:-1], str(output)]) == 0
    return kept_rows(output)


def test_the_threshold_keeps_what_duckdb_counts(
    html: str, scores: Path, open_page: OpenPage
) -> None:
    page = open_page(html)
    scored = ask(scores, "SELECT count(quality) FROM ROWS")[0]
    assert scored == 3201
    assert told(page) == (round(0.3 * scored), scored)
    for value in (0.2, 0.437, 0.6):
        page.locator("#slider").fill(str(value))
        drawn(page)
        shown = float(page.locator("#value").inner_text())
        assert shown == pytest.approx(value, abs=0.01)
        assert told(page) == ask(
            scores, f"SELECT count(*) FILTER (quality >= {shown}), count(quality) FROM ROWS"
        )
    page.get_by_role("button", name="50 %").click()
    assert told(page) == (1600, scored)
    page.locator("#slider").press("Home")
    assert told(page) == (scored, scored)
    page.locator("#slider").press("End")
    assert told(page) == (0, scored)


def test_a_link_inside_the_page_leaves_the_view(html: str, open_page: OpenPage) -> None:
    page = open_page(html, "#min=0.437")
    before = told(page)
    page.locator(".skip").press("Enter")
    assert page.evaluate("location.hash") == "#pictures"
    assert told(page) == before


def test_a_range_dragged_across_a_histogram_is_what_duckdb_selects(
    html: str, scores: Path, open_page: OpenPage
) -> None:
    page = open_page(html, "#min=0.4")
    for axis in ("quality", "q_sim", "quality_std", "attr_red", "side", "area"):
        drag(page, axis, 0.0, 0.9)
        where = where_of(page)
        kept, whole = told(page)
        assert 0 < whole < 3201
        assert (kept, whole) == ask(
            scores,
            f"SELECT count(*) FILTER (quality >= 0.4), count(quality) FROM ROWS WHERE {where}",
        )
        drag(page, axis, 0.5, 0.5)
        assert told(page)[1] == 3201


def test_parts_are_told_as_duckdb_tells_them(html: str, scores: Path, open_page: OpenPage) -> None:
    page = open_page(html, "#min=0.45")
    rows = page.locator("#groups-body tr").all()
    shown = {row.locator("th").inner_text(): row.locator("td.n").all_inner_texts() for row in rows}
    whole = ask(scores, "SELECT count(*) FILTER (quality >= 0.45) / count(quality) FROM ROWS")[0]
    for part, scored, share, median in ask(
        scores,
        "SELECT regexp_replace(shard, '/[^/]*$', '') AS part, count(quality),"
        " count(*) FILTER (quality >= 0.45) / count(quality), median(quality)"
        " FROM ROWS GROUP BY part",
    ):
        sign = "−" if share < whole else "+"
        assert shown[part] == [
            *(f"{scored:,}", f"{median:.3f}", f"{100 * share:.1f} %"),
            f"{sign}{100 * abs(share - whole):.1f}",
        ]
    page.locator('[data-group="photos"]').click()
    assert told(page) == ask(
        scores,
        "SELECT count(*) FILTER (quality >= 0.45), count(quality) FROM ROWS"
        " WHERE shard LIKE 'photos/%'",
    )


def test_parts_can_be_sorted(html: str, open_page: OpenPage) -> None:
    page = open_page(html)
    names = lambda: page.locator("#groups-body th").all_inner_texts()  # noqa: E731
    assert names() == ["agiqa3k", "photos", "it's odd"]
    page.get_by_role("button", name="name").click()
    assert names() == ["agiqa3k", "it's odd", "photos"]
    expect(page.locator("th", has_text="name")).to_have_attribute("aria-sort", "ascending")


def test_an_error_is_selected_and_its_command_keeps_just_those(
    html: str, scores: Path, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(html)
    page.locator('.pick[data-label="error"]', has_text="unsupported_format").click()
    drawn(page)
    assert page.locator("#share").inner_text().startswith("2 rows without a score")
    assert kept_by(words_of(page), tmp_path / "kept") == {
        (shard, index)
        for shard, index in ask(
            scores, "SELECT shard, index FROM ROWS WHERE error = 'unsupported_format'"
        )
    }


def test_the_copied_command_keeps_just_what_is_shown(
    html: str, scores: Path, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(html, permissions=["clipboard-read", "clipboard-write"])
    drag(page, "q_mag", 0.2, 0.7)
    page.locator('[data-group="photos"]').click()
    page.locator('[data-group="it\'s odd"]').click()
    for choose in (
        lambda: page.locator("#slider").fill("0.5"),
        lambda: page.get_by_role("button", name="30 %").click(),
    ):
        choose()
        kept, whole = told(page)
        page.get_by_role("button", name="Copy the command").first.click()
        words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
        assert words == words_of(page)
        found = kept_by(words, tmp_path / f"kept-{kept}")
        assert len(found) == kept < whole
        where = where_of(page)
        threshold = page.locator("#value").inner_text()
        assert found >= set(
            ask(
                scores,
                f"SELECT shard, index FROM ROWS WHERE {where} AND quality >= {threshold} + 0.0001",
            )
        )


def test_a_column_that_is_joined_forms_groups(
    scores: Path, open_page: OpenPage, tmp_path: Path
) -> None:
    rows = ask(scores, "SELECT shard, index FROM ROWS WHERE index % 3 <> 0")
    source = [None if index % 7 == 0 else f"o'{index % 2}" for _, index in rows]
    joined = pa.table({"shard": [r[0] for r in rows], "index": [r[1] for r in rows], "s": source})
    pq.write_table(joined, tmp_path / "sources.parquet")
    html = page_of(scores, pictures=0, per="s", join=str(tmp_path / "sources.parquet"))
    page = open_page(html, "#min=0.4")
    page.locator("#groups-body .pick", has_text="o'1").click()
    page.locator("#groups-body .pick", has_text="(not joined)").click()
    kept, whole = told(page)
    assert 0 < kept < whole < 3201
    found = kept_by(words_of(page), tmp_path / "kept")
    assert len(found) == kept
    assert {index % 3 == 0 or index % 7 == 0 or index % 2 == 1 for _, index in found} == {True}


def test_pictures_follow_and_lie_on_their_side_of_the_threshold(
    html: str, open_page: OpenPage
) -> None:
    page = open_page(html)
    expect(page.locator("#pictures-count")).to_contain_text("80 pictures of this page")
    page.locator('[data-group="photos"]').click()
    drawn(page)
    threshold = float(page.locator("#value").inner_text())
    below = [float(q) for q in page.locator("#below .q").all_inner_texts()]
    above = [float(q) for q in page.locator("#above .q").all_inner_texts()]
    assert below == sorted(below, reverse=True)
    assert above == sorted(above)
    assert max(below) <= threshold + 0.001 <= min(above) + 0.002
    page.locator("#order").select_option("worst")
    drawn(page)
    page.get_by_role("button", name="Show all").first.click()
    count = page.locator("#ordered .thumb").count()
    assert page.locator("#pictures-count").inner_text().startswith(f"{count} of the 80")


def test_the_address_holds_the_view(html: str, open_page: OpenPage) -> None:
    page = open_page(html)
    drag(page, "q_sim", 0.3, 0.8)
    page.locator('[data-group="photos"]').click()
    page.locator("#slider").fill("0.55")
    page.locator("#order").select_option("best")
    state = told(page), words_of(page)
    again = open_page(html, page.evaluate("location.hash"))
    assert (told(again), words_of(again)) == state
    assert again.locator("#order").input_value() == "best"
    page.get_by_role("button", name="Clear all").click()
    assert told(page)[1] == 3201
    odd = open_page(html, "#min=abc&q_sim=..&q_mag=9..1&group=none&order=odd&side=x..y")
    assert told(odd) == (960, 3201)


def test_a_picture_opens_into_its_whole_self(html: str, scores: Path, open_page: OpenPage) -> None:
    page = open_page(html)
    page.locator("#order").select_option("best")
    drawn(page)
    page.locator("#ordered .thumb").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#closer")).to_be_visible()
    facts = dict(
        zip(
            page.locator("#facts dt").all_inner_texts(),
            page.locator("#facts dd").all_inner_texts(),
            strict=True,
        )
    )
    row = ask(
        scores,
        "SELECT quality, q_sim, q_mag, attr_red, width, height FROM ROWS"
        f" WHERE shard = '{facts['shard']}' AND index = {facts['index']}",
    )
    shown = [facts[name] for name in ("quality", "q_sim", "q_mag", "red")]
    assert shown == [f"{value:.4f}" for value in row[:4]]
    assert facts["size"] == f"{row[4]} x {row[5]} px"
    assert page.locator("#explain").inner_text().startswith("shardsift explain --annotations ")
    first = page.locator("#closer-title").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#closer-title").inner_text() != first
    page.keyboard.press("ArrowLeft")
    assert page.locator("#closer-title").inner_text() == first
    page.keyboard.press("Escape")
    expect(page.locator("#closer")).to_be_hidden()
    assert page.evaluate("document.activeElement.className").startswith("thumb")


def test_few_stops_lead_through_the_page(html: str, open_page: OpenPage) -> None:
    """Each of 152 pictures was one."""
    page = open_page(html)
    stops: list[str] = []
    page.evaluate("document.body.focus()")
    for _ in range(150):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.outerHTML.slice(0, 80)"))
        if page.evaluate("document.activeElement === document.body"):
            break
    assert sum("thumb" in stop for stop in stops) == 5
    assert len(stops) < 70


def test_a_histogram_can_be_used_by_keyboard(html: str, open_page: OpenPage) -> None:
    page = open_page(html)
    page.get_by_label("q_mag, the magnitude cue, from").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert told(page)[1] < 3201
    assert "q_mag >=" in where_of(page)


def test_keys_of_the_pictures_can_be_downloaded(
    html: str, scores: Path, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(html)
    page.locator('[data-group="it\'s odd"]').click()
    drawn(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "keys.csv")
    (row,) = csv.DictReader((tmp_path / "keys.csv").open(newline=""))
    assert row["shard"] == "it's odd/x.tar"
    assert (row["key"],) == ask(scores, "SELECT key FROM ROWS WHERE shard LIKE 'it%' AND index = 0")


@pytest.mark.parametrize(("scheme", "width"), [("dark", 390), ("light", 1440)])
def test_axe_finds_nothing(html: str, open_page: OpenPage, scheme: str, width: int) -> None:
    page = open_page(html, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.locator("#facets").evaluate("(one) => { one.open = true; }")
    page.locator('[data-group="photos"]').click()
    found = Axe().run(page, options=RULES)
    assert not found.response["violations"], found.generate_report()
    page.locator(".thumb").first.click()
    found = Axe().run(page, context="#closer", options=RULES)
    assert not found.response["violations"], found.generate_report()


def test_nothing_sticks_out(html: str, open_page: OpenPage) -> None:
    page = open_page(html)
    for width in (390, 768, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        inner, content = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
        assert content <= inner
        top = page.locator("#slider").bounding_box()
        assert top
        assert top["y"] + top["height"] < 500


def test_on_paper_nothing_floats(html: str, open_page: OpenPage) -> None:
    page = open_page(html)
    page.emulate_media(media="print")
    styles = (
        "[...document.querySelectorAll('.sticky, aside')].map(e => getComputedStyle(e).position)"
    )
    assert set(page.evaluate(styles)) == {"static"}
    assert page.locator("#slider-chart .kept").is_visible()


def test_240_pictures_stay_below_five_megabytes(scores: Path) -> None:
    html = page_of(scores, pictures=240)
    assert html.count("data:image/") == 2 * 240
    assert len(html.encode()) < 5_000_000
