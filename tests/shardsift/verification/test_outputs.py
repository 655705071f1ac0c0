"""Every kind of damage is found, and fixed by repairing and scoring again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift import annotate_shards
from shardsift.errors import InputError, OutputError
from shardsift.storage.lease import held
from shardsift.verification.findings import Findings, repair
from shardsift.verification.outputs import claim_output, verify
from tests.fakes import FakeScorer
from tests.outputs import (
    annotation_files,
    edit_footer,
    edit_json,
    edit_rows,
    left_by_a_dead_process,
    score_again,
)
from tests.samples import encoded, write_tar


class Output:
    """A finished output: three shards of three samples, one of them bad, and a broken shard."""

    def __init__(self, folder: Path) -> None:
        self.shards, self.path = folder / "in", folder / "out"
        for shard in ("a/0", "a/1", "b/2"):
            files = [(f"{n}.jpg", encoded(width=20 + n, height=20, seed=n)) for n in range(2)]
            write_tar(self.shards / f"{shard}.tar", [*files, ("x.jpg", b"broken")])
        (self.shards / "b" / "3.tar").write_bytes(b"no tar")
        score_again(self.shards, self.path)

    def verify(self, *shards: str, recount: bool = False) -> Findings:
        return verify(claim_output(str(self.path), shards), recount=recount)

    def troubles(self, *, recount: bool = False) -> list[str]:
        """Problems, as `place: trouble`."""
        return [f"{p.place}: {p.trouble}" for p in self.verify(recount=recount).problems]

    def repair(self) -> list[str]:
        claim = claim_output(str(self.path))
        return repair(claim.folder, verify(claim).problems)

    def json(self, name: str) -> dict[str, object]:
        return json.loads((self.path / name).read_text())


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path)


def test_a_finished_output_is_complete_and_consistent(output: Output) -> None:
    found = output.verify(recount=True)
    assert found.problems == []
    assert [*found.counts.values()] == [4, 3, 1, 9, 3]
    assert found.given_up == 1


def test_nothing_is_changed_by_looking(output: Output) -> None:
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in output.path.rglob("*")}

    before = state()
    output.verify()
    assert state() == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_data(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)


def flip(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def drop_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["w_sim"]), path)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (Path.unlink, "has neither an annotation nor a record of its failure"),
    "cut": (cut, "its annotation is damaged: "),
    "empty": (lambda path: path.write_bytes(b""), "its annotation is damaged: "),
    "zeros": (flip_data, "the rows of its annotation are damaged: "),
    "no column": (drop_column, "the rows of its annotation are damaged: "),
    "other run": (
        lambda path: edit_footer(path, fingerprint="another"),
        "its annotation's footer is damaged: ",
    ),
    "other shard": (
        lambda path: path.write_bytes((path.parent / "1.parquet").read_bytes()),
        "its annotation is that of a/1.tar",
    ),
    "broken footer": (
        lambda path: edit_footer(path, errors="{"),
        "its annotation's footer is damaged: ",
    ),
    "footer counts": (
        lambda path: edit_footer(path, rows="4"),
        "its annotation has 3 rows, its footer says 4",
    ),
    "row gone": (
        lambda path: edit_rows(path, lambda rows: rows.pop()),
        "its annotation has 2 rows, its footer says 3",
    ),
    "row twice": (
        lambda path: edit_rows(path, lambda rows: rows.__setitem__(1, rows[0])),
        "row 1 of its annotation has index 0",
    ),
    "not finite": (
        lambda path: edit_rows(path, lambda rows: rows[0].update(q_sim=float("inf"))),
        "its annotation has a q_sim that is not finite",
    ),
    "NaN": (
        lambda path: edit_rows(path, lambda rows: rows[0].update(quality=float("nan"))),
        "its annotation has a quality that is not finite",
    ),
    "unknown error": (
        lambda path: edit_rows(path, lambda rows: rows[2].update(error="bad luck")),
        "its annotation has an unknown error: bad luck",
    ),
    "another error": (
        lambda path: edit_rows(path, lambda rows: rows[2].update(error="too_large")),
        "the errors of its rows differ from its footer's counts",
    ),
    "neither": (
        lambda path: edit_rows(path, lambda rows: rows[0].update(quality=None)),
        "its annotation has a row with both a score and an error, or neither",
    ),
    "a quality edited": (
        lambda path: edit_rows(path, lambda rows: rows[0].update(w_sim=0.25)),
        "the rows of its annotation don't match the digest",
    ),
    "a key edited": (
        lambda path: edit_rows(path, lambda rows: rows[0].update(key="another")),
        "the rows of its annotation don't match the digest",
    ),
    "a place edited": (
        lambda path: edit_rows(path, lambda rows: rows[2].update(tar_offset=0)),
        "the rows of its annotation don't match the digest",
    ),
    "settings edited": (
        lambda path: edit_footer(path, config="{}"),
        "its annotation was made with other settings, not as the record says",
    ),
    "a bit of an index": (
        lambda path: flip(path, b"shardsift-sha256", b"shardsift-sha257"),
        "its annotation is damaged: its bytes have changed",
    ),
    "rows of others": (
        lambda path: edit_rows(path, lambda rows: rows[0].update(shard="z.tar")),
        "rows of its annotation name another shard",
    ),
}


@pytest.mark.parametrize(("harm", "trouble"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_and_mended(
    harm: Callable[[Path], object], trouble: str, output: Output
) -> None:
    whole = annotation_files(output.path)
    harm(output.path / "a" / "0.parquet")
    (found,) = output.troubles()
    assert found.startswith(f"a/0.tar: {trouble}")
    assert "\n" not in found
    output.repair()
    assert set(annotation_files(output.path)) == set(whole) - {"a/0.parquet"}
    assert not (output.path / "_summary.json").exists(), "it would say that all is done"
    assert score_again(output.shards, output.path) == ["a/0.tar", "b/3.tar"]
    assert output.troubles() == []
    assert annotation_files(output.path) == whole


def test_a_failure_recorded_beside_an_annotation_is_stale(output: Output) -> None:
    record = output.json("_failed/b/3.json") | {"shard": "a/0.tar"}
    (output.path / "_failed" / "a").mkdir()
    (output.path / "_failed" / "a" / "0.json").write_text(json.dumps(record))
    assert output.troubles() == ["a/0.tar: is annotated, but _failed/a/0.json says that it failed"]
    assert output.repair() == ["_failed/a/0.json"]
    assert output.troubles() == []


@pytest.mark.parametrize("content", ["", "{}", '{"shard": 1}'])
def test_a_damaged_record_of_a_failure_is_found(content: str, output: Output) -> None:
    (output.path / "_failed" / "b" / "3.json").write_text(content)
    assert output.troubles()[0].startswith("b/3.tar: the record of its failure is damaged: ")
    output.repair()
    score_again(output.shards, output.path)
    assert output.troubles() == []


def test_what_a_kill_left_is_found_and_removed(output: Output) -> None:
    left = ["_probe-0123abcd", f"a/{left_by_a_dead_process(output.path / 'a').name}"]
    (output.path / left[0]).touch()
    (output.path / "a" / "notes.tmp").touch()  # not ours
    is_left = "is left over from a killed run"
    assert output.troubles() == [f"{name}: {is_left}" for name in left]
    assert output.repair() == left
    assert output.troubles() == []
    assert (output.path / "a" / "notes.tmp").exists()


def test_a_shard_that_came_later_is_a_gap(output: Output) -> None:
    write_tar(output.shards / "c.tar", [("1.jpg", encoded())])
    (found,) = output.troubles()
    assert found == "c.tar: has neither an annotation nor a record of its failure"


def test_an_annotation_of_no_planned_shard_is_told_and_kept(output: Output) -> None:
    (output.shards / "b" / "2.tar").unlink()
    assert output.troubles()[0] == "b/2.parquet: belongs to no shard of this run"
    output.repair()
    assert "b/2.parquet" in annotation_files(output.path)


def test_other_peoples_parquet_is_told_and_kept(output: Output) -> None:
    foreign = pa.table({"url": ["http://"]})
    for name in ("a/0.parquet", "z.parquet"):
        pq.write_table(foreign, output.path / name)
    troubles = output.troubles()
    assert troubles[0].startswith("a/0.tar: a Parquet file of another program")
    assert troubles[1] == "z.parquet: belongs to no shard of this run"
    output.repair()
    assert pq.read_table(output.path / "a" / "0.parquet").equals(foreign)
    assert pq.read_table(output.path / "z.parquet").equals(foreign)


def test_nothing_is_repaired_while_a_run_writes_there(output: Output) -> None:
    (output.path / "a" / "0.parquet").write_bytes(b"")
    with (
        held(str(output.path)),
        pytest.raises(OutputError, match=r"another command .* writes here"),
    ):
        output.repair()
    assert (output.path / "a" / "0.parquet").exists()


def test_an_unfinished_run_is_told(output: Output) -> None:
    (output.path / "_summary.json").unlink()
    assert output.troubles() == ["_summary.json: is missing: the run hasn't finished"]
    assert output.repair() == []


RESULTS: dict[str, tuple[Callable[[Output], object], str]] = {
    "summary counts": (
        lambda output: edit_json(output.path / "_summary.json", rows=10, failed_shards=0),
        "_summary.json: disagrees with the manifest: failed_shards, rows",
    ),
    "summary damaged": (
        lambda output: (output.path / "_summary.json").write_text("{"),
        "_summary.json: not JSON: ",
    ),
    "summary of another run": (
        lambda output: edit_json(output.path / "_summary.json", fingerprint="another"),
        "_summary.json: disagrees with the manifest: fingerprint",
    ),
    "summary edited": (
        lambda output: flip(output.path / "_summary.json", b'"actors": 0', b'"actors": 8'),
        "_summary.json: was changed since it was written",
    ),
    "manifest gone": (
        lambda output: (output.path / "_manifest.arrow").unlink(),
        "_manifest.arrow: is missing, but the summary exists",
    ),
    "manifest damaged": (
        lambda output: cut(output.path / "_manifest.arrow"),
        "_manifest.arrow: not a manifest of Shardsift: ",
    ),
    "manifest counts": (
        lambda output: edit_rows(
            output.path / "_manifest.arrow", lambda rows: rows[1].update(decode_error=2)
        ),
        "_manifest.arrow: disagrees with 1 shards, such as a/1.tar",
    ),
    "manifest lacks a shard": (
        lambda output: edit_rows(output.path / "_manifest.arrow", lambda rows: rows.pop()),
        "_manifest.arrow: disagrees with 1 shards, such as b/3.tar",
    ),
    "manifest has another shard": (
        lambda output: edit_rows(
            output.path / "_manifest.arrow",
            lambda rows: rows.append(rows[0] | {"shard": "z.tar"}),
        ),
        "_manifest.arrow: disagrees with 1 shards, such as z.tar",
    ),
}


@pytest.mark.parametrize(("harm", "trouble"), RESULTS.values(), ids=RESULTS)
def test_manifest_and_summary_agree_with_the_files(
    harm: Callable[[Output], object], trouble: str, output: Output
) -> None:
    whole = annotation_files(output.path)
    harm(output)
    (found,) = output.troubles()
    assert found.startswith(trouble)
    output.repair()
    assert annotation_files(output.path) == whole
    assert score_again(output.shards, output.path) == ["b/3.tar"]
    assert output.troubles() == []


def test_recounting_finds_a_tar_that_grew_or_broke(output: Output) -> None:
    write_tar(output.shards / "a" / "0.tar", [("1.jpg", encoded())])
    broken = output.shards / "a" / "1.tar"
    broken.write_bytes(broken.read_bytes()[:1000])
    assert output.troubles() == [], "annotations alone don't tell"
    changed, first, cut, second = output.troubles(recount=True)
    assert changed.startswith("a/0.tar: has changed since it was scored: 10,240 bytes and version")
    assert first == "a/0.tar: 3 rows, but the tar holds 1 samples"
    assert cut.startswith("a/1.tar: has changed since it was scored: ")
    assert second.startswith("a/1.tar: not a readable tar: ")


def test_recounting_compares_keys_and_places(output: Output) -> None:
    tar = output.shards / "a" / "0.tar"
    before = tar.stat()
    files = [(f"{n}.jpg", encoded(width=20 + n, height=20, seed=n)) for n in range(2)]
    write_tar(tar, [files[0], ("7.jpg", files[1][1]), ("x.jpg", b"broken")])
    os.utime(tar, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert output.troubles(recount=True) == ["a/0.tar: row 1 has key '1', and the tar '7'"]
    tar.touch()
    assert "has changed since it was scored" in output.troubles(recount=True)[0]


def test_named_shards_win_over_those_of_the_run(output: Output) -> None:
    found = output.verify(str(output.shards / "a"))
    assert [*found.counts.values()][:2] == [2, 2]
    assert [problem.place for problem in found.problems] == ["_failed/b/3.json", "b/2.parquet"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no _run\.json here; name the --output of a run"):
        claim_output(str(tmp_path))


def test_inputs_that_are_gone_are_asked_for(output: Output) -> None:
    output.shards.rename(output.shards.with_name("moved"))
    with pytest.raises(InputError, match="if they have moved, name their folder: --shards DIR"):
        output.verify()


def test_a_corpus_that_has_moved_is_verified_where_it_lies(output: Output) -> None:
    """The same question was asked again, whatever the answer."""
    moved = output.shards.rename(output.shards.with_name("moved"))
    for tar in moved.rglob("*.tar"):
        os.utime(tar, (1, 1))  # as a copy has it
    found = output.verify(str(moved), recount=True)
    assert (found.problems, [*found.counts.values()]) == ([], [4, 3, 1, 9, 3])
    write_tar(moved / "a" / "1.tar", [("0.jpg", encoded())])
    (problem,) = output.verify(str(moved), recount=True).problems[:1]
    assert problem.place == "a/1.tar"


def test_inputs_are_recorded_so_that_they_mean_the_same_everywhere(
    output: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(output.shards)
    other = tmp_path / "other"
    annotate_shards(["a", "{b/2,a/0}.tar", "b/*.tar"], FakeScorer(), str(other))
    recorded = json.loads((other / "_run.json").read_text())["inputs"]
    assert recorded == [f"{output.shards}/{name}" for name in ("a", "{b/2,a/0}.tar", "b/*.tar")]
    monkeypatch.chdir(tmp_path)
    assert verify(claim_output(str(other))).problems == []


def test_shards_of_another_place_are_refused(output: Output, tmp_path: Path) -> None:
    write_tar(tmp_path / "elsewhere" / "0.tar", [])
    with pytest.raises(InputError, match=r"elsewhere: has none of the shards .* below .*/in; name"):
        output.verify(str(tmp_path / "elsewhere"))
    with pytest.raises(
        InputError, match=r"were below .*/in, but these are in .*/elsewhere; if they"
    ):
        output.verify(str(tmp_path / "elsewhere" / "0.tar"))


def test_a_store_that_fails_is_no_damage(output: Output) -> None:
    annotation = output.path / "a" / "0.parquet"
    claim = claim_output(str(output.path))
    annotation.unlink()  # after the listing: as a store that answers no more
    with pytest.raises(OutputError, match="can't be read"):
        verify(claim)


def test_an_output_on_another_filesystem_is_verified(output: Output) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(f"{output.path}/", "/verified/", recursive=True)
    try:
        assert verify(claim_output("memory://verified")).problems == []
        memory.rm("/verified/a/0.parquet")
        claim = claim_output("memory://verified")
        found = verify(claim)
        assert [problem.place for problem in found.problems] == ["a/0.tar"]
        assert repair(claim.folder, found.problems) == ["_summary.json"]
    finally:
        memory.rm("/verified", recursive=True)
