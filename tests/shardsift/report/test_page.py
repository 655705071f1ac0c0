"""The page holds everything itself, says the truth about its slider, and works in a browser."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardsift.errors import ErrorCode
from shardsift.report.gather import RunData, gather
from shardsift.report.live import Start
from shardsift.report.page import fetch_pictures, render
from tests.fakes import FakeScorer
from tests.generated import row, write_annotations
from tests.outputs import write_run
from tests.samples import encoded, write_shards, write_tar

NASTY = "</script><b>&nasty"

needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="there is no chromium here: apt-get install chromium"
)


@pytest.fixture(name="run", scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    folder = tmp_path_factory.mktemp("page")
    write_shards(folder / "shards" / "train", shards=2, samples=40)
    files = [(f"{NASTY}.png", encoded("PNG", 700, 600)), (f"{NASTY}2.jpg", b"no image")]
    write_tar(folder / "shards" / "extra" / "x.tar", files)
    return gather(str(write_run(folder / "shards", folder / "scores", FakeScorer())))


def page_of(run: RunData, start: Start | None = None, pictures: int = 40) -> str:
    return render(run, fetch_pictures(run, run.root, pictures), start or Start())


def data_in(page: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_nothing_is_loaded_from_elsewhere(run: RunData) -> None:
    page = page_of(run)
    addresses = re.findall(r'(?:src|href|action)\s*=\s*"([^"]*)"', page)
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|//\w+\.\w+", page)
    assert "default-src 'none'" in page


def test_the_slider_tells_exact_shares(run: RunData) -> None:
    data = data_in(page_of(run))
    quality = run.numbers("quality")
    for edge, kept in zip(data["edges"], data["atLeast"], strict=True):
        assert kept == int((quality >= edge).sum())
    assert data["atLeast"][0] == 81
    assert data["atLeast"][-1] == 0
    parts = {row["name"]: row["atLeast"] for row in data["groups"][2]["rows"]}
    assert {name: kept[0] for name, kept in parts.items()} == {"extra": 1, "train": 80}
    assert sum(kept[200] for kept in parts.values()) == data["atLeast"][200]


def test_a_share_keeps_what_filter_keeps(run: RunData) -> None:
    """It said 29.3 % where `filter --keep-top 0.3` kept 30 %: the slider goes by quality."""
    data = data_in(page_of(run, Start(keep_top=0.33)))
    presets = {preset["share"]: preset for preset in data["presets"]}
    assert set(presets) == {0.1, 0.3, 0.33, 0.5, 0.7}
    quality_N = np.sort(run.numbers("quality")[np.isfinite(run.numbers("quality"))])
    for share, preset in presets.items():
        assert preset["kept"] == round(share * 81)
        assert data["edges"][preset["place"]] == quality_N[-preset["kept"]]
    assert data["start"] == presets[0.33]["place"]
    assert data["startShare"] == 0.33
    assert data_in(page_of(run, Start(min_quality=0.5)))["startShare"] is None


def test_commands_of_the_page_can_be_run(tmp_path: Path) -> None:
    folder = write_annotations(tmp_path / "some scores; rm -rf x", {"a.tar": [row(0, 0.5)]})
    data = data_in(page_of(gather(str(folder))))
    typed = f"{data['filter']} --keep-top 0.3 {data['into']}"
    kept = f"{folder}-kept"
    assert shlex.split(typed) == [
        *("shardsift", "filter", str(folder), "--keep-top", "0.3", "--output", kept)
    ]


@pytest.mark.parametrize("keep_top", [0.1, 0.5])
def test_the_slider_begins_where_it_is_told(run: RunData, keep_top: float) -> None:
    data = data_in(page_of(run, Start(keep_top=keep_top)))
    assert data["atLeast"][data["start"]] / 81 == pytest.approx(keep_top, abs=0.02)
    middle = float(np.nanmedian(run.numbers("quality")))
    data = data_in(page_of(run, Start(min_quality=middle)))
    assert data["edges"][data["start"]] == pytest.approx(middle, abs=0.002)


def test_names_from_tars_are_only_text(run: RunData) -> None:
    page = page_of(run)
    assert NASTY not in page
    assert html.escape(NASTY) in page


def test_no_name_begins_a_script(tmp_path: Path) -> None:
    odd = "e.<!--<script>.jpg"
    samples = [row(0, 0.5, image_ext=odd), row(1, ErrorCode.TRUNCATED, key=odd)]
    run = gather(str(write_annotations(tmp_path / "scores", {"a.tar": samples})))
    page = page_of(run)
    (data,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert "<" not in data
    assert odd in json.dumps(data_in(page))


def test_a_sample_says_that_it_is_one(run: RunData) -> None:
    assert "A sample:" not in page_of(run)
    part = gather(run.url, limit=9)
    assert "A sample: 8 of 82 rows, from 3 of 3 annotation files" in page_of(part)


def test_a_run_without_a_score_has_a_page(tmp_path: Path) -> None:
    write_tar(tmp_path / "shards" / "x.tar", [("a.jpg", b"no image")])
    run = gather(str(write_run(tmp_path / "shards", tmp_path / "scores", FakeScorer())))
    assert "Nothing was scored" in page_of(run)


def browse(page: str, folder: Path, script: str, *flags: str) -> Any:
    """What a script that ran in Chromium, after the page's own, returns."""
    probe = f"<script>document.title = JSON.stringify((() => {{{script}}})());</script></body>"
    file = folder / "page.html"
    file.write_text(page.replace("</body>", probe))
    command = [
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", f"--user-data-dir={folder / 'profile'}", *flags),
        *("--dump-dom", file.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))


@needs_chromium
def test_the_slider_moves_share_bars_and_pictures(run: RunData, tmp_path: Path) -> None:
    script = """
      const slider = document.getElementById("slider");
      const state = () => [
        document.getElementById("share").textContent,
        [...document.querySelectorAll("#above .thumb")].map((t) => Number(t.dataset.quality)),
        [...document.querySelectorAll("#below .thumb")].map((t) => Number(t.dataset.quality)),
        [...document.querySelectorAll("#bias i")].map((bar) => bar.style.width),
        Number(document.getElementById("value").textContent),
      ];
      const states = [];
      for (const place of [0, 200, slider.max]) {
        slider.value = place;
        slider.dispatchEvent(new Event("input"));
        states.push(state());
      }
      document.querySelector("[data-keep='0.5']").click();
      return [...states, state()];
    """
    first, middle, last, half = browse(page_of(run), tmp_path, script)
    assert first[0] == "keeps 100.0 %: 81 of 81 scored images"
    assert last[0] == "keeps 0.0 %: 0 of 81 scored images"
    assert set(first[3]) == {"100%"}
    assert set(last[3]) == {"0%"}
    assert len(first[1]) == len(last[2]) == 12
    assert not first[2]
    assert not last[1]
    assert max(middle[2]) < middle[4] <= min(middle[1])
    assert half[0].startswith(("keeps 49", "keeps 50"))


@needs_chromium
@pytest.mark.parametrize("width", [500, 1200])
def test_nothing_sticks_out(run: RunData, tmp_path: Path, width: int) -> None:
    script = "return [innerWidth, document.documentElement.scrollWidth];"
    inner, content = browse(page_of(run), tmp_path, script, f"--window-size={width},900")
    assert content <= inner


@needs_chromium
@pytest.mark.parametrize(("scheme", "is_dark"), [(0, True), (1, False)])
def test_both_themes(run: RunData, tmp_path: Path, scheme: int, is_dark: bool) -> None:
    script = "return getComputedStyle(document.body).backgroundColor;"
    flag = f"--blink-settings=preferredColorScheme={scheme}"
    colour = browse(page_of(run), tmp_path, script, flag)
    red = int(re.findall(r"\d+", colour)[0])
    assert (red < 128) == is_dark


@needs_chromium
def test_everything_can_be_reached_by_keyboard(run: RunData, tmp_path: Path) -> None:
    script = """
      const thumb = document.querySelector("#deciles .thumb");
      thumb.focus();
      const focused = document.activeElement === thumb;
      thumb.click();  // what Enter does on a button
      const dialog = document.getElementById("closer");
      const words = document.getElementById("closer-body").textContent;
      const inside = dialog.contains(document.activeElement);
      document.querySelector("#closer button").click();
      return [focused, words, inside, dialog.open];
    """
    focused, words, inside, is_open = browse(page_of(run), tmp_path, script)
    assert focused
    assert inside
    assert not is_open
    assert "quality" in words
