"""Damage of outputs by people and disks: one line and exit code 2, never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shardsift.cli.app import main
from shardsift.outputs.compaction import compact
from tests.disks import disk_with_room_for
from tests.outputs import annotation_files
from tests.shardsift.resharding.corpora import plain_corpus


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of all verbs for three small shards."""
    corpus = plain_corpus(tmp_path_factory.mktemp("written"), shards=3, samples=2)
    corpus.reshard()
    compact(str(corpus.scores), str(corpus.folder / "few"))
    return corpus.folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    """A copy, to be harmed."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


READERS = {
    "scores": [
        ["stats", "scores"],
        ["report", "scores", "--output", "page"],
        ["compare", "scores", "few"],
        ["filter", "scores", "--keep-top", "0.5", "--output", "new"],
        ["compact", "scores", "--output", "new"],
        ["verify", "scores"],
    ],
    "few": [["stats", "few"], ["report", "few", "--output", "page"], ["verify", "few"]],
    "kept": [["reshard", "--keep", "kept", "--output", "new", "--dry-run"], ["verify", "kept"]],
    "out": [["reshard", "--keep", "kept", "--output", "out", "--dry-run"], ["verify", "out"]],
}
RECORDS = {
    "scores": ["_run.json", "_summary.json", "_manifest.arrow", "00000.parquet"],
    "few": ["_run.json", "_summary.json", "_compacting.json", "_manifest.arrow"],
    "kept": ["_filter.json", "_summary.json", "keep-list/00000.parquet"],
    "out": ["_reshard.json", "_plan.parquet", "00000000_stats.json", "_summary.json"],
}
CONTENTS = ["", "[]", "null", '{"rows": {}, "fingerprint": [1]}', "[" * 9999]


@pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder, names in RECORDS.items() for name in names]
)
def test_records_of_another_type_are_one_line(
    folder: str,
    name: str,
    copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(copy)
    for content in CONTENTS:
        Path(folder, name).write_text(content)
        for command in READERS[folder]:
            code = main(command)
            said = capsys.readouterr().err
            if command[0] == "verify":
                assert code in (1, 2), command
            if code == 2:
                told = [line for line in said.splitlines() if line.startswith("shardsift: ")]
                assert len(told) == 1, said
        for new in ("new", "page"):
            shutil.rmtree(new, ignore_errors=True)


WRITERS = {
    "filter": ["filter", "scores", "--keep-top", "0.5", "--output", "new"],
    "uids": ["filter", "scores", "--keep-top", "0.5", "--output", "new", "--emit", "uids"],
    "compact": ["compact", "scores", "--output", "new"],
    "report": ["report", "scores", "--output", "new"],
    "compare": ["compare", "scores", "few", "--output", "new"],
}


@pytest.mark.parametrize("room", [0, 600])
@pytest.mark.parametrize("verb", WRITERS)
def test_a_full_disk_is_one_line_and_the_same_command_works_later(
    verb: str,
    room: int,
    copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(copy)
    with disk_with_room_for(room):
        code = main(WRITERS[verb])
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert line.startswith("shardsift: new/")
    assert "File too large; run the same" in line
    assert main(WRITERS[verb]) == 0


def test_a_full_disk_is_one_line_for_a_repair_too(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy)
    Path("scores", "00000.parquet").write_bytes(b"")
    before = annotation_files(Path("scores"))
    with disk_with_room_for(0):
        assert main(["verify", "scores", "--repair"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert annotation_files(Path("scores")) == before


@pytest.mark.parametrize("verb", WRITERS)
def test_a_place_that_cant_be_written_is_one_line(
    verb: str, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy)
    command = ["/proc/new" if word == "new" else word for word in WRITERS[verb]]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("shardsift: /proc/new")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1:1/a.tar",
        "dbfs:/Volumes/a.tar",
        "dbfs:///Volumes/a.tar",
        "nothing://a.tar",
        "ftp://user:secret@127.0.0.1/a.tar",
        "sftp://user:secret@127.0.0.1/a.tar",
        "http://user:secret@127.0.0.1/a.tar",
    ],
)
def test_places_that_cant_be_reached_are_one_line_without_secrets(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", url, "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "secret" not in line
    assert main(["stats", url]) == 2
    assert "secret" not in capsys.readouterr().err


def test_swapped_files_are_told_by_whoever_reads_them(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy)
    for folder in ("scores", "kept/keep-list"):
        one, other = Path(folder, "00000.parquet"), Path(folder, "00001.parquet")
        contents = one.read_bytes(), other.read_bytes()
        one.write_bytes(contents[1])
        other.write_bytes(contents[0])
    # `stats` reads the manifest of a finished run, and no annotation.
    for command in (*READERS["scores"][1:], *READERS["kept"]):
        assert main(command) in (1, 2), command
        assert "00001.tar" in "".join(capsys.readouterr()), command
