"""The report shows equal pictures, and the one that a filter would keep."""

from __future__ import annotations

from pathlib import Path

from shardsift import annotate_shards
from shardsift.config.filter_settings import FilterConfig
from shardsift.filtering.query import curate
from shardsift.reporting.axes import order_of
from shardsift.reporting.gather import gather
from shardsift.reporting.page import ReportPage, Start
from shardsift.reporting.pictures import find_equal_pictures
from tests.fakes import FakeScorer
from tests.generated import row, write_annotations
from tests.outputs import kept_rows, write_run
from tests.pages import data_in
from tests.samples import encoded, write_tar


def test_the_first_of_a_group_is_the_one_that_a_filter_keeps(tmp_path: Path) -> None:
    """Ties and all: each group has equal qualities in two shards."""
    shards = {
        shard: [row(n, (n // 3) / 10, phash=n % 4) for n in range(20)]
        for shard in ("a.tar", "b.tar")
    }
    scores = write_annotations(tmp_path / "scores", shards)
    output = tmp_path / "kept"
    curate(FilterConfig(annotations=str(scores), output=str(output), keep_top=1, unique="phash"))
    data = gather(str(scores))
    found = find_equal_pictures(data, order_of(data))
    assert found
    assert (found.column, found.copies, len(found.groups)) == ("phash", 36, 4)
    first = data.table.take([group[0] for group in found.groups]).to_pylist()
    assert {(line["shard"], line["index"]) for line in first} == kept_rows(output)


def test_groups_and_attributes_are_on_the_page(tmp_path: Path) -> None:
    copies = [(f"{n}.png", encoded("PNG", seed=n % 3)) for n in range(7)]
    write_tar(tmp_path / "in" / "a.tar", copies)
    scorer = FakeScorer()
    scorer.attributes = {"text": (("text", "no text"),)}
    annotate_shards(tmp_path / "in", scorer, tmp_path / "scores", hashes=["sha256"])
    run = gather(str(tmp_path / "scores"))
    report = ReportPage(run)
    report.fetch(report.choose(5), run.root)
    page = report.render(Start())
    assert "4 of 7 rows are copies of a better picture, by <code>sha256</code>" in page
    data = data_in(page)
    assert [len(group) for group in data["equal"]] == [3, 2, 2]
    pictures = [data["pictures"][place] for group in data["equal"] for place in group]
    assert all(picture["preview"] for picture in pictures)
    assert ["equal pictures", "3, itself among them"] in pictures[0]["facts"]
    assert "attr_text" in [axis["name"] for axis in data["axes"]]


def test_without_hashes_nothing_is_said_of_copies(tmp_path: Path) -> None:
    write_tar(tmp_path / "in" / "a.tar", [("a.png", encoded("PNG"))])
    data = gather(str(write_run(tmp_path / "in", tmp_path / "scores", FakeScorer())))
    assert find_equal_pictures(data, order_of(data)) is None
    assert "Equal pictures" not in ReportPage(data).render(Start())
