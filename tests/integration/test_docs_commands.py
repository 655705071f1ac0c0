"""Every command of the documentation is run, page by page: `make docs-commands`, minutes.

The small model takes the place of the paper's, whose weights aren't here, and CPUs that of GPUs.
What isn't run is listed with the reason why not.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from tests.documentation import commands
from tests.samples import as_parquet, as_pictures, encoded, picture

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_TEST_DOCS" not in os.environ, reason="make docs-commands runs them; minutes"
)

NOT_RUN = {
    r"pip |python3 -m venv|source ": "`make release-check` installs as the pages say",
    r".*--head .*=laion-|.*--with corpus-nsfw": "needs LAION's weights",
    r"make ": "CI",
    r"rsync ": "isn't everywhere",
    r".*hf://": "asks the Hugging Face hub",
    r"img2dataset": "downloads",
    r"python -m open_clip_train": "trains, on a GPU",
    r'python -c "import open_clip': "asks a model hub",
    r".*(/models/RN50.pt|--config node-8gpu)": "needs OpenAI's weights",
    r"docker |kind |kubectl ": "needs a Docker engine, or Kubernetes",
    r"sbatch ": "tests/jobs/slurm runs the script",
    r"prometheus ": "tests/jobs/monitoring runs it",
    r"ray job submit|.*--address auto|.*--config cluster": "test_joined_cluster.py runs them",
    r"python -m jobs.paper": "needs the paper's sets, and minutes; tests/jobs/paper runs it",
    r"shardsift config VERB": "a pattern",
}
SPELLED_OTHERWISE = {
    "--model RN50": "--model compact",
    "--clip ViT-L-14 --clip-pretrained openai": "--clip compact",
    "{00000..00123}": "{00000..00011}",
    "/new/corpus": "new/corpus",
    "s3://copy/of/corpus": "new/corpus",
    "--dtype auto": "--dtype float32",
    # The pictures here are made up, and none is good.
    "quality >= 0.55": "quality >= 0.2",
    "--min-quality 0.68720376": "--min-quality 0.235",
}
ENDS_OTHERWISE = {"shardsift doctor": 1}
"""There is no GPU, which `doctor` tells."""
SHARDS = 12
FIRST_KEY = 12_340

BEHIND = {"corpus-scores": "corpus-kept", "corpus": "corpus-kept|corpus-scores"}
"""Files that a line reads without naming them, and a check of each."""

PAGES = sorted({page for page, _ in commands()})


def reason_not_to_run(line: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, line)), None)


def environment() -> dict[str, str]:
    """That of somebody who has neither a GPU nor the paper's weights."""
    settings = {
        **{"MODEL": "compact", "CROPS": "global", "THUMBNAILS": "12"},
        **{"GPUS_PER_ACTOR": "0", "CPUS_PER_ACTOR": "1", "ACTORS": "2"},
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = {f"SHARDSIFT_{name}": value for name, value in settings.items()}
    return os.environ | ours | {"PATH": path, "BROWSER": "true"}


def run(line: str, folder: Path) -> str:
    """Run a line as a shell does; return its output."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    code = next((code for start, code in ENDS_OTHERWISE.items() if line.startswith(start)), 0)
    assert done.returncode == code, f"{line}\n{done.stdout[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that pages name: corpora, scores, keep-lists, tables of other tools."""
    folder = tmp_path_factory.mktemp("everything")
    for shard in range(SHARDS):
        write_like_img2dataset(folder / "corpus", shard)
    for name in ("agiqa3k", "new/corpus"):
        shutil.copytree(folder / "corpus", folder / name)
    picture().save(folder / "photo.jpg")
    for name in ("photos", "Pictures"):
        as_pictures(folder / "corpus", folder / name)
    as_parquet(folder / "corpus", folder / "data")
    write_tables(folder)
    asked = "--attribute clip-iqa --hashes sha256,phash --clip compact --crops paper"
    asked += " --embeddings clip,maclip"
    run(f"shardsift score corpus --output corpus-scores {asked}", folder)
    for name in ("corpus-scores-fast", "new-scores"):
        shutil.copytree(folder / "corpus-scores", folder / name)
    run("shardsift filter corpus-scores --output corpus-kept --keep-top 0.3", folder)
    return folder


def write_like_img2dataset(folder: Path, shard: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name, number = f"{shard:05}", FIRST_KEY + shard
    fields = {
        "uid": f"{number:032x}",
        "mos": 1 + shard % 17 / 4,
        "original_width": 400 + shard * 40,
    }
    caption = f"picture {number}".encode()
    files = {"jpg": encoded(seed=shard), "json": json.dumps(fields).encode(), "txt": caption}
    with tarfile.open(folder / f"{name}.tar", "w") as tar:
        for extension, content in files.items():
            member = tarfile.TarInfo(f"{number:09}.{extension}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    row = {"key": [f"{number:09}"], "original_width": [fields["original_width"]]}
    pq.write_table(pa.table(row), folder / f"{name}.parquet")
    (folder / f"{name}_stats.json").write_text("{}")


def write_tables(folder: Path) -> None:
    """Write tables of other tools about the pictures."""
    count = range(SHARDS)
    columns = {
        "uid": [f"{FIRST_KEY + n:032x}" for n in count],
        "source": [f"source {n % 3}" for n in count],
        "nsfw": [n % 10 == 0 for n in count],
        "cluster": [n // 2 for n in count],
        **{name: [n % 7 / 6 for n in count] for name in ("clip_similarity", "aesthetic_score")},
        "clip_l14_similarity_score": [n % 11 / 10 for n in count],
        "aesthetic": [n % 11 for n in count],
        "nsfw_score": [n % 5 / 10 for n in count],
    }
    nested = [{"uid": columns["uid"][n], "meta": {"aesthetic": n}} for n in count]
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in nested))
    (folder / "laion").mkdir()
    pq.write_table(
        pa.table({"uid": columns["uid"], "WIDTH": [600] * SHARDS}), folder / "laion/0.pq"
    )
    lines = [f"{FIRST_KEY + n:09},{n / 20}" for n in count]
    (folder / "ai.csv").write_text("\n".join(["file_name,score", *lines]))
    (folder / "takedowns.csv").write_text(f"key\n{FIRST_KEY:09}\n")
    for name in ("sources", "metadata", "curator", "laion", "aesthetics", "clusters"):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


@pytest.fixture(scope="module")
def bucket(everything: Path, s3: s3fs.S3FileSystem) -> s3fs.S3FileSystem:
    for tar in (everything / "corpus").glob("0000*.tar"):
        s3.pipe_file(f"corpus/train/{tar.name}", tar.read_bytes())
    return s3


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_run(
    page: str, everything: Path, bucket: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    for _, line in [one for one in commands() if one[0] == page]:
        if why := reason_not_to_run(line):
            say(f"{page}: not run, {why}: {line}")
            continue
        for documented, here in SPELLED_OTHERWISE.items():
            line = line.replace(documented, here)
        clear_output(line, tmp_path, bucket)
        bring_along(line, everything, tmp_path)
        said = run(line, tmp_path).strip().splitlines()
        say(f"{page}: {line}\n    {said[-1] if said else ''}")


def say(text: str) -> None:
    sys.stdout.write(f"\n{text}")


def clear_output(line: str, folder: Path, bucket: s3fs.S3FileSystem) -> None:
    """Remove the output of an earlier line of the page that writes to the same place."""
    for output in re.findall(r"--output (\S+)", line):
        if output.startswith("s3://"):
            if bucket.exists(output):
                bucket.rm(output, recursive=True)
        else:
            shutil.rmtree(folder / output, ignore_errors=True)


def bring_along(line: str, everything: Path, folder: Path) -> None:
    """Copy the input of a line, to replace one that other lines of the page have changed."""
    outputs = re.findall(r"--output (\S+)", line)
    for source in everything.iterdir():
        name, target = source.name, folder / source.name
        is_named = re.search(rf"(?<![\w/-]){re.escape(name)}(?![\w-])", line)
        is_behind = name in BEHIND and re.search(BEHIND[name], line)
        if not (is_named or is_behind) or name in outputs:
            continue
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
