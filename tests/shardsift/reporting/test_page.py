"""The page holds everything itself, and tells the truth about the run, whatever its state."""

from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from shardsift.cli.app import main
from shardsift.errors import ErrorCode
from shardsift.reporting.gather import RunData, gather
from shardsift.reporting.page import ReportPage, Start
from shardsift.storage.lease import held
from tests.fakes import FakeScorer
from tests.generated import row, write_annotations
from tests.outputs import write_run
from tests.pages import data_in
from tests.samples import encoded, write_shards, write_tar

NASTY = "</script><b>&nasty"


@pytest.fixture(name="run", scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    folder = tmp_path_factory.mktemp("page")
    write_shards(folder / "shards" / "train", shards=2, samples=40)
    files = [(f"{NASTY}.png", encoded("PNG", 700, 600)), (f"{NASTY}2.jpg", b"no image")]
    write_tar(folder / "shards" / "extra" / "x.tar", files)
    return gather(str(write_run(folder / "shards", folder / "scores", FakeScorer())))


def page_of(run: RunData, start: Start | None = None, pictures: int = 40) -> str:
    report = ReportPage(run)
    report.fetch(report.choose(pictures), run.root)
    return report.render(start or Start())


def test_nothing_is_loaded_from_elsewhere(run: RunData) -> None:
    page = page_of(run)
    data_in(page)
    markup = re.sub(r'id="data">.*?</script>', "", page, flags=re.DOTALL)
    addresses = re.findall(r'(?:src|href|action)\s*=\s*"([^"]*)"', markup)
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    assert not re.search(r"@import|fetch\(|XMLHttpRequest|https?://(?!www.w3.org/2000/svg)", markup)
    assert "default-src 'none'" in page


def test_only_its_own_script_may_run(run: RunData) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page_of(run))
    assert "unsafe" not in html.unescape(policy)


def test_commands_of_the_page_can_be_run(tmp_path: Path) -> None:
    folder = write_annotations(tmp_path / "some scores; rm -rf x", {"a.tar": [row(0, 0.5)]})
    data = data_in(page_of(gather(str(folder))))
    typed = f"{data['command']['filter']} --keep-top 0.3 {data['command']['into']}"
    kept = f"{folder}-kept"
    assert shlex.split(typed) == [
        *("shardsift", "filter", str(folder), "--keep-top", "0.3", "--output", kept)
    ]
    explained = shlex.split(data["pictures"][0]["explain"]) if data["pictures"] else []
    assert not explained or explained[3] == str(folder)


def test_the_threshold_begins_where_it_is_told(run: RunData) -> None:
    data = data_in(page_of(run, Start(keep_top=0.33)))
    assert data["start"] == {"keepTop": 0.33, "minQuality": None}
    assert data["presets"] == [0.1, 0.3, 0.33, 0.5, 0.7]
    data = data_in(page_of(run, Start(min_quality=0.5)))
    assert data["start"] == {"keepTop": None, "minQuality": 0.5}


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
    page = page_of(run)
    assert "Nothing was scored" in page
    assert "unsupported_format: 1" in page


def test_a_run_that_is_still_going_says_how_far_it_is(run: RunData, tmp_path: Path) -> None:
    scores = tmp_path / "scores"
    scores.mkdir()
    for name in ("_run.json", "train/00000.parquet"):
        (scores / name).parent.mkdir(exist_ok=True)
        (scores / name).write_bytes((Path(run.url) / name).read_bytes())
    assert "has not finished: 1 of 3 shards are annotated" in page_of(gather(str(scores)))
    with held(str(scores)):
        going = gather(str(scores))
    assert "is still running, or was killed: 1 of 3 shards are annotated" in page_of(going)
    assert "annotated so far" not in page_of(run)


def test_the_head_names_model_crops_and_day(run: RunData) -> None:
    assert run.newest
    head = re.sub(r"<[^>]*>", "", page_of(run).partition("<h1>")[2].partition("</header>")[0])
    for fact in ("82 images", "1 without a score", "3 shards", "model compact", "crops paper"):
        assert fact in head
    assert f"scored {run.newest:%Y-%m-%d}" in head


@pytest.mark.parametrize("qualities", [[], [0.5], [0.5] * 10, [0.0, 1e-9, 3.5]])
def test_few_or_equal_qualities_make_a_page(tmp_path: Path, qualities: list[float]) -> None:
    samples = [row(n, quality, width=224) for n, quality in enumerate(qualities)]
    samples.append(row(len(samples), ErrorCode.TOO_LARGE))
    run = gather(str(write_annotations(tmp_path / "scores", {"a.tar": samples})))
    page = page_of(run)
    assert data_in(page)["rows"]["scored"] == len(qualities)
    assert np.isfinite([edge for axis in data_in(page)["axes"] for edge in axis["edges"]]).all()


def test_pictures_that_share_a_key_are_counted_by_report_filter_and_stats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [(f"Screenshot 2024.05.02 at 10.{n:02}.jpg", encoded(seed=n)) for n in range(20)]
    write_tar(tmp_path / "in" / "0.tar", files)
    scores = write_run(tmp_path / "in", tmp_path / "scores", FakeScorer())
    page = page_of(gather(str(scores)))
    assert "20 images" in page
    assert "19 without a score" in page
    advice = "rename the files so that only their extension follows a dot"
    assert advice in page
    for words in (["stats"], ["filter", "--keep-top", "1", "--dry-run"]):
        assert main([words[0], str(scores), *words[1:]]) == 0
        said = capsys.readouterr().out
        assert "19" in said
        assert advice in said
