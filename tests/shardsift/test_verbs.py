"""The verbs do the same from Python as from the command line; on Ray, see
`integration/test_ray_data.py`."""

from __future__ import annotations

import inspect
import signal
from pathlib import Path
from threading import Thread

import pytest

import shardsift
from shardsift import errors
from shardsift.config import fields_by_key
from shardsift.config.filter_settings import FilterConfig
from shardsift.engine.run_loop import on_interrupt
from tests.fakes import FakeScorer
from tests.outputs import write_run
from tests.samples import write_shards


@pytest.fixture(name="scores", scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    return write_run(write_shards(folder / "in", 2, 4), folder / "scores", FakeScorer())


def test_a_run_is_filtered_reported_verified_compared_and_summed_up(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = shardsift.filter(scores, keep_top="50%", output=tmp_path / "kept", where="quality > 0")
    assert kept.summary.kept == 4
    assert shardsift.verify(tmp_path / "kept").is_sound
    assert shardsift.verify(scores, shards=scores.parent / "in", recount=True).counts
    page = shardsift.report(scores, output=tmp_path / "page", thumbnails=2)
    assert Path(page.url).stat().st_size == page.bytes
    alike = shardsift.compare(scores, scores, output=tmp_path / "both", thumbnails=0, with_=[])
    assert alike.comparison.max_absolute == 0
    assert alike.page
    assert Path(alike.page.url).name == "comparison.html"
    assert shardsift.stats(scores).total.rows == 8
    assert shardsift.compact(scores, output=tmp_path / "few").rows == 8
    with pytest.raises(shardsift.InputError, match="has no embeddings"):
        shardsift.ask(scores, output=tmp_path / "answers", attribute="clip-iqa")
    assert capsys.readouterr().out == ""


def test_what_is_wrong_is_told_with_the_command_that_mends_it(tmp_path: Path) -> None:
    scores = write_run(write_shards(tmp_path / "in", 2, 1), tmp_path / "scores", FakeScorer())
    next(scores.glob("*.parquet")).write_bytes(b"damaged")
    found = shardsift.verify(scores, quiet=True)
    assert not found.is_sound
    assert found.again.startswith("shardsift score ")
    assert not found.deleted
    deleted = shardsift.verify(scores, repair=True, quiet=True).deleted
    assert "00000.parquet" in deleted


def test_mistakes_are_named_as_keywords(scores: Path) -> None:
    wrong: list[tuple[dict[str, object], str]] = [
        ({"keep_top": 30, "output": "k"}, "^keep_top 30: a share is between 0 and 1"),
        ({"keep_topp": 0.3}, "^unknown key 'keep_topp'; did you mean keep_top?"),
        ({"keep_top": 0.3, "keep_count": 3}, "^give one of keep_top, keep_count, min_quality and"),
        ({"keep_top": 0.3}, "^give an output, or dry_run to only count"),
    ]
    for settings, message in wrong:
        with pytest.raises(shardsift.ConfigError, match=message):
            shardsift.filter(scores, **settings)
    with pytest.raises(shardsift.InputError, match="nowhere"):
        shardsift.report("nowhere", output="page")


def test_a_verb_shows_all_its_settings() -> None:
    shown = inspect.signature(shardsift.filter).parameters
    spelled = {name.removesuffix("_") for name in shown}
    assert spelled == (fields_by_key(FilterConfig).keys() - {"json"}) | {"config", "quiet"}
    assert shown["by"].default == "quality"
    assert "\n        keep_top: keep this share of the best" in str(shardsift.filter.__doc__)


def test_every_error_and_every_name_is_at_hand() -> None:
    own = [each for each in vars(errors).values() if inspect.isclass(each)]
    for each in own:
        if issubclass(each, errors.ShardsiftError):
            assert getattr(shardsift, each.__name__) is each
    assert all(getattr(shardsift, name) for name in shardsift.__all__)
    assert dir(shardsift) == sorted(shardsift.__all__)


def test_signals_are_left_alone_in_other_threads() -> None:
    handlers: list[object] = []

    def run() -> None:
        with on_interrupt(lambda: None):
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
