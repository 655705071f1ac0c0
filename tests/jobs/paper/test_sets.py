"""Tiny folders of each set's layout become shards with the right opinions."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from scipy import io

from jobs.paper.config import IqaShardsConfig
from jobs.paper.iqa_shards import run
from jobs.paper.protocol import PAPER_SETS
from jobs.paper.sets import IQA_SETS, read_set, write_shards
from shardsift.cli.console import start_console
from shardsift.errors import InputError
from shardsift.evaluation.opinions import ONLY_PROTOCOL
from shardsift.shards.tar_samples import read_tar
from tests.conftest import SHARED
from tests.next_lines import follow
from tests.samples import encoded


def put(path: Path, content: bytes | str = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def put_image(path: Path) -> None:
    kinds = {".jpg": "JPEG", ".bmp": "BMP", ".png": "PNG"}
    put(path, encoded(kinds[path.suffix.lower()], 16, 16))


def put_sheet(path: Path, rows: list[list[Any]], title: str = "Sheet1") -> None:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = title
    for row in rows:
        sheet.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def koniq10k(folder: Path) -> None:
    head = '"image_name","c1","c2","c3","c4","c5","c_total","MOS","SD","MOS_zscore"\n'
    rows = '"1.jpg",0,0,1,1,0,2,3.5,0.5,70.1\n"2.jpg",0,2,0,0,0,2,2,0.1,33\n'
    put(folder / "koniq10k_scores_and_distributions.csv", head + rows)
    for name in ("1.jpg", "2.jpg"):
        put_image(folder / "1024x768" / name)
        put_image(folder / "512x384" / name)


def spaq(folder: Path) -> None:
    rows = [["Image name", "MOS", "Brightness"], ["00001.jpg", 35.5, 40], ["00002.jpg", 20, 30]]
    put_sheet(folder / "Annotations" / "MOS and Image attribute scores.xlsx", rows)
    for name in ("00001.jpg", "00002.jpg"):
        put_image(folder / "TestImage" / name)


def livec(folder: Path) -> None:
    names = [*(f"t{n}.bmp" for n in range(1, 8)), "3.bmp", "4.JPG"]
    cells = np.array([[name] for name in names], object)
    (folder / "Data").mkdir(parents=True)
    io.savemat(folder / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
    opinions = np.array([[*range(7), 63.9, 25.3]])
    io.savemat(folder / "Data" / "AllMOS_release.mat", {"AllMOS_release": opinions})
    put_image(folder / "Images" / "3.bmp")
    put_image(folder / "Images" / "4.JPG")


def kadid10k(folder: Path) -> None:
    rows = "I01_01_01.png,I01.png,4.57,0.5\nI01_24_05.png,I01.png,1.2,0.9\n"
    put(folder / "dmos.csv", "dist_img,ref_img,dmos,var\n" + rows)
    for name in ("I01.png", "I01_01_01.png", "I01_24_05.png"):
        put_image(folder / "images" / name)


def tid2013(folder: Path) -> None:
    put(folder / "mos_with_names.txt", "5.51429 I01_01_1.bmp\n3.2 i02_24_5.bmp\n")
    put_image(folder / "distorted_images" / "i01_01_1.bmp")
    put_image(folder / "distorted_images" / "I02_24_5.bmp")


def csiq(folder: Path) -> None:
    rows = [
        ["All of it, by image"],
        [None, None, None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"],
        [None, None, None, 1600, 1, "noise", 1, 0.06, 0.062],
        [None, None, None, "boston", 3, "jpeg 2000", 5, 0.1, 0.9],
    ]
    put_sheet(folder / "csiq.DMOS.xlsx", rows, "all_by_image")
    put_image(folder / "dst_imgs" / "awgn" / "1600.AWGN.1.png")
    put_image(folder / "dst_imgs" / "jpeg2000" / "boston.jpeg2000.5.png")


def agiqa1k(folder: Path) -> None:
    rows = [
        ["Image", "Prompt", "MOS"],
        ["deepai_0_0_0_0.jpg", "bird driving aircraft, city", 2.79],
        ["dreamStudio_8_9_1_1.jpg", "woman using CD", 0.44],
    ]
    put_sheet(folder / "AIGC_MOS_Zscore.xlsx", rows)
    for name in ("deepai_0_0_0_0.jpg", "dreamStudio_8_9_1_1.jpg"):
        put_image(folder / "file" / name)


def ava(folder: Path) -> None:
    votes = ["0 1 5 17 38 36 15 6 5 1", "10 0 0 0 0 0 0 0 0 10"]
    put(folder / "AVA.txt", f"1 953619 {votes[0]} 1 22 1396\n2 953958 {votes[1]} 15 0 1396\n")
    put(folder / "tags.txt", "1 Abstract\n15 Emotive\n22 Macro\n")
    for name in ("953619.jpg", "953958.jpg"):
        put_image(folder / "images" / name)


def agiqa3k(folder: Path) -> None:
    head = "name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align\n"
    rows = 'AttnGAN_normal_000.jpg,"a, b",,,anime style,0.7,0.2,1,1\nsd1.5_x_1.jpg,c,,,,3.4,1,1,1\n'
    put(folder / "data.csv", "\ufeff" + head + rows)
    for name in ("AttnGAN_normal_000.jpg", "sd1.5_x_1.jpg"):
        put_image(folder / "images" / name)


def pipal(folder: Path) -> None:
    put(folder / "Train_Label" / "A0001.txt", "A0001_00_00.bmp,1505.9\n")
    put(folder / "Train_Label" / "A0002.txt", "A0002_06_16.bmp,1399.2\n")
    put_image(folder / "Train_Dist" / "A0001_00_00.bmp")
    put_image(folder / "Train_Dist" / "A0002_06_16.bmp")


def flive(folder: Path) -> None:
    rows = "voc_emotic_ava/a.jpg,76.5,True\nblur_dataset/a.jpg,54.1,False\n"
    put(folder / "database" / "labels_image.csv", "name_image,mos_image,is_valid\n" + rows)
    put_image(folder / "database" / "voc_emotic_ava" / "a.jpg")
    put_image(folder / "database" / "blur_dataset" / "a.jpg")


LAYOUTS: dict[str, tuple[Callable[[Path], None], list[tuple[str, float]]]] = {
    "koniq10k": (koniq10k, [("1.jpg", 3.5), ("2.jpg", 2.0)]),
    "spaq": (spaq, [("00001.jpg", 35.5), ("00002.jpg", 20.0)]),
    "livec": (livec, [("3.bmp", 63.9), ("4.JPG", 25.3)]),
    "kadid10k": (kadid10k, [("I01_01_01.png", 4.57), ("I01_24_05.png", 1.2)]),
    "tid2013": (tid2013, [("i01_01_1.bmp", 5.51429), ("I02_24_5.bmp", 3.2)]),
    "csiq": (csiq, [("1600.AWGN.1.png", 0.062), ("boston.jpeg2000.5.png", 0.9)]),
    "agiqa1k": (agiqa1k, [("deepai_0_0_0_0.jpg", 2.79), ("dreamStudio_8_9_1_1.jpg", 0.44)]),
    "ava": (ava, [("953619.jpg", 699 / 124), ("953958.jpg", 5.5)]),
    "agiqa3k": (agiqa3k, [("AttnGAN_normal_000.jpg", 0.7), ("sd1.5_x_1.jpg", 3.4)]),
    "pipal": (pipal, [("A0001_00_00.bmp", 1505.9), ("A0002_06_16.bmp", 1399.2)]),
    "flive": (flive, [("a.jpg", 76.5), ("a.jpg", 54.1)]),
}


@pytest.mark.parametrize("name", IQA_SETS)
@pytest.mark.parametrize("depth", [".", "unpacked/here"])
def test_each_layout_is_read(name: str, depth: str, tmp_path: Path) -> None:
    build, expected = LAYOUTS[name]
    build(tmp_path / depth)
    found = [(opinion.name, opinion.mos) for opinion in IQA_SETS[name].read(tmp_path)]
    assert found == expected


@pytest.mark.parametrize("name", sorted(set(IQA_SETS) - {"ava"}))
def test_a_missing_image_is_told(name: str, tmp_path: Path) -> None:
    build, expected = LAYOUTS[name]
    build(tmp_path)
    for path in list(tmp_path.rglob(expected[-1][0])):
        path.unlink()
    with pytest.raises(InputError, match="no such image"):
        list(IQA_SETS[name].read(tmp_path))


@pytest.mark.parametrize("name", sorted(set(IQA_SETS) - {"pipal"}))
def test_another_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the unpacked download"):
        list(IQA_SETS[name].read(tmp_path))


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("koniq10k", "koniq10k_scores_and_distributions.csv", "image_name,mos\n1.jpg,3\n"),
        ("koniq10k", "koniq10k_scores_and_distributions.csv", "image_name,MOS\n1.jpg,good\n"),
        ("ava", "AVA.txt", "1 953619 0 0 0 0 0 0 0 0 0 0 1 22 1396\n"),
        ("ava", "AVA.txt", "1 953619 5 5\n"),
        ("tid2013", "mos_with_names.txt", "5.51429\n"),
    ],
)
def test_a_list_of_another_form_is_told(name: str, file: str, content: str, tmp_path: Path) -> None:
    LAYOUTS[name][0](tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=f"isn't as that of {name} is"):
        list(read_set(name, tmp_path))


def test_only_csiq_has_dmos_that_fall_with_quality() -> None:
    assert [name for name, found in IQA_SETS.items() if found.higher_is_worse] == ["csiq"]


def test_what_only_the_paper_takes_is_marked(tmp_path: Path) -> None:
    livec(tmp_path / "livec")
    put_image(tmp_path / "livec" / "Images" / "trainingImages" / "t2.bmp")
    pipal(tmp_path / "pipal")
    put(tmp_path / "pipal" / "Val_Label" / "A0240.txt", "A0240_10_15.bmp,1252\n")
    put_image(tmp_path / "pipal" / "Val_Dist" / "A0240_10_15.bmp")
    for name, expected in (("livec", ["t2.bmp"]), ("pipal", ["A0240_10_15.bmp"])):
        found = list(IQA_SETS[name].read(tmp_path / name))
        assert len(found) == 3
        assert [o.name for o in found if o.fields.get(ONLY_PROTOCOL) == "paper"] == expected


def test_votes_and_tags_of_ava_are_kept(tmp_path: Path) -> None:
    ava(tmp_path)
    (tmp_path / "images" / "953958.jpg").unlink()  # withdrawn, as some are
    first, second = IQA_SETS["ava"].read(tmp_path)
    assert first.fields["votes"] == [0, 1, 5, 17, 38, 36, 15, 6, 5, 1]
    assert (first.fields["tag"], first.fields["challenge"]) == ("Abstract", "1396")
    assert second.fields["mos_std"] == pytest.approx(4.5)
    assert second.path is None
    assert write_shards([first, second], str(tmp_path / "shards"), "ava").without_image == 1
    samples = list(read_tar(str(tmp_path / "shards" / "ava-00000.tar")))
    assert [sample.image is not None for sample in samples] == [True, False]


def test_the_papers_sets_have_loaders() -> None:
    assert set(IQA_SETS) >= set(PAPER_SETS)


@pytest.mark.parametrize(
    "place", ["__MACOSX/kadid10k/images/._{}", "thumbnails/images/{}", "kadid10k/images/.{}"]
)
def test_what_belongs_to_no_download_is_passed_over(place: str, tmp_path: Path) -> None:
    kadid10k(tmp_path / "kadid10k")
    names = [path.name for path in (tmp_path / "kadid10k" / "images").iterdir()]
    for name in names:
        put(tmp_path / place.format(name), b"no picture")
    opinions = list(read_set("kadid10k", tmp_path))
    assert {str(opinion.path) for opinion in opinions} <= {
        str(tmp_path / "kadid10k" / "images" / name) for name in names
    }
    assert opinions


def test_of_pictures_of_one_name_the_largest_counts(tmp_path: Path) -> None:
    agiqa3k(tmp_path)
    images = list(tmp_path.rglob("*.jpg"))
    for path in images:
        put(tmp_path / "small" / path.name, b"x")
    assert {opinion.path for opinion in read_set("agiqa3k", tmp_path)} <= set(images)


def test_an_empty_cell_that_isnt_needed_costs_no_row(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["Image name", "Brightness", "MOS"]]
    rows += [["00001.jpg", None, 35.5], [None, None, None], ["00002.jpg", 30, 20]]
    put_sheet(tmp_path / "MOS and Image attribute scores.xlsx", rows)
    for name in ("00001.jpg", "00002.jpg"):
        put_image(tmp_path / "TestImage" / name)
    assert [opinion.mos for opinion in read_set("spaq", tmp_path)] == [35.5, 20]


@pytest.mark.parametrize(("score", "told"), [("good", "'good'"), (None, "none")])
def test_a_score_that_is_no_number_is_told_with_its_picture(
    score: object, told: str, tmp_path: Path
) -> None:
    rows: list[list[Any]] = [["Image name", "MOS"], ["00001.jpg", score]]
    put_sheet(tmp_path / "MOS and Image attribute scores.xlsx", rows)
    put_image(tmp_path / "TestImage" / "00001.jpg")
    with pytest.raises(InputError, match=f"opinion of 00001.jpg has to be a number, and is {told}"):
        list(read_set("spaq", tmp_path))


def test_the_mac_s_kadid(tmp_path: Path) -> None:
    folder = SHARED / "faults" / "sets" / "mac-kadid"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    paths = [opinion.path for opinion in read_set("kadid10k", folder)]
    assert paths == sorted((folder / "kadid10k" / "images").iterdir())


def test_a_set_becomes_shards_that_can_be_evaluated_as_is_said_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MODEL": "compact", "CROPS": "global"}.items():
        monkeypatch.setenv(f"SHARDSIFT_{name}", value)
    folder = tmp_path / "koniq"
    (folder / "1024x768").mkdir(parents=True)
    with (folder / "koniq10k_scores_and_distributions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_name", "MOS"])
        for number in range(12):
            name = f"{number}.jpg"
            writer.writerow([name, 50 + number])
            (folder / "1024x768" / name).write_bytes(encoded(seed=number))
    shards = str(tmp_path / "shards")
    run(IqaShardsConfig(name="koniq10k", folder=folder, output=shards), start_console())
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("next: ")]
    assert follow(shlex.split(line)[2:], capsys) == ["evaluate"]
