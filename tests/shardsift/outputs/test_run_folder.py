"""One configuration a folder; and nothing that isn't ours is ever deleted."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.errors import OutputError
from shardsift.outputs.output_folder import OutputFolder
from shardsift.outputs.run_folder import check_output
from shardsift.records import FailedShard, ShardIdentity
from shardsift.shards.plan import ShardPlan, plan_shards
from shardsift.storage.files import commit, list_files
from tests.generated import contents, encode
from tests.outputs import left_by_a_dead_process
from tests.samples import write_tar

ONE, OTHER = contents("print-1", {"alpha": 1.0}), contents("print-2", {"alpha": 2.0})


@pytest.fixture
def plan(tmp_path: Path) -> ShardPlan:
    for name in ("0", "1"):
        write_tar(tmp_path / "in" / f"{name}.tar", [])
    return plan_shards([str(tmp_path / "in")])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def start_run(out: Path, plan: ShardPlan) -> OutputFolder:
    """A folder as an interrupted run leaves it: recorded, with one shard of two annotated."""
    folder = OutputFolder(str(out))
    folder.begin(plan, ONE)
    identity = ShardIdentity(path="0.tar", size=1, version="v")
    commit(str(out / "0.parquet"), encode([], shard=identity, holding=ONE))
    return OutputFolder(str(out))


def test_somebody_elses_parquet_is_refused(out: Path, plan: ShardPlan) -> None:
    out.mkdir()
    pq.write_table(pa.table({"caption": ["a cat"]}), out / "0.parquet")
    for overwrite in (False, True):
        with pytest.raises(
            OutputError, match=r"holds 0\.parquet, which no `run` has recorded here"
        ):
            OutputFolder(str(out)).claim(ONE, overwrite=overwrite)
    assert list_files(str(out)) == {"0.parquet"}


def test_overwriting_deletes_our_files_and_no_others(out: Path, plan: ShardPlan) -> None:
    folder = start_run(out, plan)
    folder.write_failed(FailedShard(shard="1.tar", url="/1.tar", reason="cut", attempts=3))
    (out / "notes.txt").write_text("mine")
    folder = OutputFolder(str(out))
    before = list_files(str(out))
    folder.claim(OTHER, overwrite=True)
    assert folder.committed == set()
    assert list_files(str(out)) == before
    folder.begin(plan, OTHER)
    assert list_files(str(out)) == {"notes.txt", "_run.json"}


def test_a_damaged_record_is_named(out: Path) -> None:
    commit(str(out / "_run.json"), b"{")
    with pytest.raises(OutputError, match=r"_run\.json: not the record of a run"):
        OutputFolder(str(out))


def test_what_a_killed_writer_left_is_swept_up(out: Path, plan: ShardPlan) -> None:
    folder = start_run(out, plan)
    leftover = left_by_a_dead_process(out)
    folder.begin(plan, ONE)
    assert not leftover.exists()
    assert (out / "0.parquet").exists()


def test_a_full_disk_ends_the_run_with_one_line(out: Path) -> None:
    out.mkdir()
    folder = OutputFolder(str(out))
    (out / "_failed").write_text("in the way")
    failed = FailedShard(shard="1.tar", url="/1.tar", reason="no space", attempts=3)
    with pytest.raises(OutputError, match=r"can't be written any more: .*1\.tar: no space"):
        folder.write_failed(failed)


@pytest.mark.parametrize("place", ["corpus", "corpus/annotations", "other/../corpus", "link"])
def test_an_output_among_the_shards_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "corpus")
    with pytest.raises(OutputError, match="a folder of shards"):
        check_output(str(tmp_path / place), [str(tmp_path / "corpus")])
    assert list_files(str(tmp_path / "corpus")) == set()


def test_an_output_that_cant_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="can't be written"):
        check_output(str(tmp_path / "file" / "out"), ["/elsewhere"])
