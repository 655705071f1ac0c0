"""The page of two runs counts as `compare` does, and shows whose pictures change sides."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from shardsift.reporting.comparison import Pairs, compare_pairs, measure_overlap, pair_up
from shardsift.reporting.comparison_page import ComparisonPage, find_shift
from tests.fakes import FakeScorer
from tests.outputs import edit_rows, write_run
from tests.pages import RULES, data_in
from tests.samples import encoded, write_shards, write_tar

OpenPage = Callable[..., Page]

SHARES = (0.1, 0.3, 0.5)
NASTY = "</script><img src=x onerror=hacked=1>"


class RedScorer(FakeScorer):
    """Goes by the red of pictures, and so orders them in another way."""

    def score(self, images):  # type: ignore[no-untyped-def]
        """Yield the fake scores of the red channel."""
        for image in images:
            yield from super().score([np.repeat(image[..., :1], 3, axis=2)])


@pytest.fixture(name="pairs", scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    folder = tmp_path_factory.mktemp("runs")
    write_shards(folder / "shards", shards=3, samples=60)
    odd = [(f"{NASTY}.jpg", encoded(seed=9)), ("b.jpg", b"no image")]
    write_tar(folder / "shards" / "odd.tar", odd)
    runs = [
        write_run(folder / "shards", folder / name, scorer)
        for name, scorer in (("a", FakeScorer()), ("b", RedScorer()))
    ]
    return pair_up(*map(str, runs))


@pytest.fixture(name="html", scope="module")
def the_page(pairs: Pairs) -> str:
    page = ComparisonPage(pairs, compare_pairs(pairs, SHARES))
    record = pairs.folders[0].record
    assert record
    page.fetch(100, record.root)
    assert page.problem is None
    return page.render(SHARES)


def test_ranks_cut_as_the_table_does(pairs: Pairs) -> None:
    """Also if many qualities are equal."""
    rough = Pairs(
        folders=pairs.folders,
        names=pairs.names,
        begins=pairs.begins,
        row_2N=pairs.row_2N,
        compared=pairs.compared,
        a_CN=np.round(pairs.a_CN, 2),
        b_CN=np.round(pairs.b_CN, 2),
    )
    for some in (pairs, rough):
        both_N = np.isfinite(some.a_CN[0])
        a, b = (values[0][both_N].astype(np.float64) for values in (some.a_CN, some.b_CN))
        counts_PP = find_shift(some).counts_PP
        assert counts_PP.sum() == len(a) == 181
        for hundredth in range(1, 100):
            overlap = measure_overlap(a, b, hundredth / 100)
            cut = 100 - hundredth
            kept_a, kept_b = counts_PP[cut:].sum(), counts_PP[:, cut:].sum()
            shared = counts_PP[cut:, cut:].sum()
            assert kept_a == (a >= overlap.min_quality_a).sum()
            assert overlap.of_kept == pytest.approx(2 * shared / (kept_a + kept_b))


def test_pictures_of_the_page_change_sides(html: str, pairs: Pairs) -> None:
    pictures = data_in(html)["pictures"]
    assert 30 < len(pictures) <= 100
    assert all(picture["preview"] for picture in pictures)
    for one in pictures:
        a, b = map(float, one["label"].split(" → "))
        assert one["change"] == pytest.approx(b - a, abs=0.002)
    for cut in (30, 50, 90):
        assert any(one["ranks"][0] >= cut > one["ranks"][1] for one in pictures)


def test_rows_that_one_run_lacks_are_left_out(pairs: Pairs, tmp_path: Path) -> None:
    urls = [Path(folder.url) for folder in pairs.folders]
    for name in ("_run.json", "00000.parquet", "00001.parquet"):
        (tmp_path / name).write_bytes((urls[1] / name).read_bytes())
    edit_rows(tmp_path / "00001.parquet", lambda rows: rows.reverse())
    some = pair_up(str(urls[0]), str(tmp_path))
    assert some.a_CN.shape == (1, 120)
    for place in (0, 59, 60, 119):
        row_a, row_b = some.read([place])[0]
        assert (row_a["shard"], row_a["key"]) == (row_b["shard"], row_b["key"])
        assert row_a["quality"] == some.a_CN[0, place]
        assert row_b["quality"] == some.b_CN[0, place]


def test_a_share_tells_what_both_keep(html: str, pairs: Pairs, open_page: OpenPage) -> None:
    page = open_page(html)
    overlaps = {o.keep_top: o for o in compare_pairs(pairs, SHARES).overlaps}
    for share in SHARES:
        page.get_by_role("button", name=f"{round(100 * share)} %").click()
        words = page.locator("#share").inner_text()
        assert words.startswith(f"{100 * overlaps[share].of_kept:.1f} %")
        told = re.search(r": (\d+) of (\d+) images; (\d+) only by A, (\d+) only by B", words)
        assert told
        both, whole, a, b = map(int, told.groups())
        assert whole == 181
        assert overlaps[share].of_kept == pytest.approx(2 * both / (2 * both + a + b))
    page.locator("#slider").fill("42")
    assert page.evaluate("location.hash") == "#share=42"
    assert "42 %" in open_page(html, "#share=42").locator("#share").inner_text()


def test_a_picture_tells_both_sides_and_its_text_never_runs(html: str, open_page: OpenPage) -> None:
    page = open_page(html)
    page.locator("#rises .thumb").first.click()
    expect(page.locator("#facts")).to_contain_text("in A,")
    assert "onerror" in html
    assert page.evaluate("typeof hacked") == "undefined"


@pytest.mark.parametrize(("scheme", "width"), [("dark", 390), ("light", 1440)])
def test_axe_finds_nothing(html: str, open_page: OpenPage, scheme: str, width: int) -> None:
    page = open_page(html, color_scheme=scheme, viewport={"width": width, "height": 900})
    found = Axe().run(page, options=RULES)
    assert not found.response["violations"], found.generate_report()
    inner, content = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
    assert content <= inner
