"""A device scores as a CPU does: `make gpu`, and on a CPU as a part of `make test`.

Nothing here needs Ray, a network or a file that isn't in the checkout.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.bench.corpus import MODEL, write_weights
from shardsift.annotations.annotate import annotate
from shardsift.config import CropPlan, Dtype, ScoreConfig
from shardsift.images.decoder import TWO_THREADS
from shardsift.images.pool import DecodePool
from shardsift.images.slabs import Slabs
from shardsift.outputs.sealed_table import read
from shardsift.records import ImageScore, RgbImage, ShardTask
from shardsift.scoring.clip import load_clip
from shardsift.scoring.crops import CROP_SIZE, ImageGroup, cut_crops
from shardsift.scoring.encoder import Encoder
from shardsift.scoring.scorer import Scorer
from shardsift.scoring.transfer import PinnedMemory, Transfer
from shardsift.scoring.warm_up import rehearse, warm_up
from tests.samples import encoded, write_tar

DEVICE = os.environ.get("SHARDSIFT_TEST_DEVICE", "cpu")
CUES = ("quality", "q_sim", "q_mag", "w_sim")
SIZES = [(224, 480), (100, 40), (300, 301), (224, 224)]
IMAGES: list[RgbImage] = [
    np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
    for number, size in enumerate(SIZES)
]

needs_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="needs an NVIDIA GPU: make gpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_weights(tmp_path_factory.mktemp("weights") / "rn50.pt"))


def rn50(weights: str, dtype: Dtype = "float32", crops: CropPlan = "paper") -> ScoreConfig:
    return ScoreConfig(model=MODEL, pretrained=weights, dtype=dtype, crops=crops)


def compact(dtype: Dtype = "float32", crops: CropPlan = "paper") -> ScoreConfig:
    return ScoreConfig(model="compact", dtype=dtype, crops=crops)


def on_device(config: ScoreConfig, batch_size: int = 8, *, embeddings: bool = False) -> Scorer:
    return Scorer(config, embeddings=embeddings, device=DEVICE, batch_size=batch_size)


def bits(scores: Iterable[ImageScore]) -> list[bytes]:
    return [getattr(score.per_crop, cue).tobytes() for score in scores for cue in CUES]


def farthest(some: Iterable[ImageScore], others: Iterable[ImageScore]) -> float:
    return max(
        float(np.abs(getattr(one.per_crop, cue) - getattr(other.per_crop, cue)).max())
        for one, other in zip(some, others, strict=True)
        for cue in CUES
    )


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.01), ("float16", 0.01)]
)
@needs_gpu
def test_rn50_scores_as_on_a_cpu(weights: str, dtype: Dtype, tolerance: float) -> None:
    expected = Scorer(rn50(weights)).score(IMAGES)
    assert farthest(on_device(rn50(weights, dtype)).score(IMAGES), expected) < tolerance


@pytest.mark.parametrize("crops", ["paper", "fast", "global"])
@needs_gpu
def test_the_compact_model_scores_as_on_a_cpu(crops: CropPlan) -> None:
    expected = Scorer(compact(crops=crops)).score(IMAGES)
    assert farthest(on_device(compact(crops=crops)).score(IMAGES), expected) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scores_are_equal_to_the_bit_whatever_shares_a_batch(dtype: Dtype) -> None:
    scorer = on_device(compact(dtype))
    together = bits(scorer.score(IMAGES))
    assert bits(scorer.score(IMAGES)) == together
    assert bits(scorer.score(IMAGES[::-1]))[:: len(CUES)] == together[:: len(CUES)][::-1]
    assert [part for image in IMAGES for part in bits(scorer.score([image]))] == together


def test_embeddings_are_those_of_a_cpu() -> None:
    config = compact()
    scores = Scorer(config, embeddings=True).score(IMAGES)
    for expected, found in zip(
        scores, on_device(config, embeddings=True).score(IMAGES), strict=True
    ):
        np.testing.assert_allclose(found.embedding, expected.embedding, rtol=2e-3, atol=2e-3)


@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_recorded_batch_gives_the_bits_of_one_that_is_launched(dtype: Dtype) -> None:
    scorer = on_device(compact(dtype), embeddings=True)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        crops_NSS3 = torch.rand(8, CROP_SIZE, CROP_SIZE, 3, generator=generator).to(DEVICE) * 255
        recorded, launched = (
            compute(crops_NSS3)
            for compute in (scorer._score_batch, scorer._launch_batch)  # pyright: ignore[reportPrivateUsage]
        )
        assert torch.equal(recorded.scores_VN, launched.scores_VN)
        assert torch.equal(recorded.features_ND, launched.features_ND)


def test_threads_share_a_scorer() -> None:
    scorer = on_device(compact())
    expected = [bits(scorer.score([image])) for image in IMAGES]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            scores = pool.map(list, (scorer.score([image]) for image in IMAGES))
            assert list(map(bits, scores)) == expected


def test_crops_are_cut_as_on_a_cpu() -> None:
    device = torch.device(DEVICE)
    transfer = Transfer(device, PinnedMemory(device))
    group = ImageGroup([transfer.keep(image) for image in IMAGES], "paper", transfer)
    crops_NSS3 = torch.full((group.crops, CROP_SIZE, CROP_SIZE, 3), torch.nan, device=DEVICE)
    group.cut(0, group.crops, crops_NSS3)
    expected = [crop for image in IMAGES for crop in cut_crops(torch.from_numpy(image), "paper")]
    for crop, own in zip(crops_NSS3.cpu(), expected, strict=True):
        if own.dtype == torch.uint8:
            assert torch.equal(crop, own.float())
        else:
            torch.testing.assert_close(crop, own, rtol=0, atol=1e-4)


def test_a_crop_that_is_not_finite_leaves_the_others_alone() -> None:
    encoder = Encoder(compact(), DEVICE)
    crops_N3SS = torch.rand(4, 3, CROP_SIZE, CROP_SIZE, device=DEVICE) * 255
    expected_ND = encoder.encode(crops_N3SS).clone()
    crops_N3SS[1] = torch.nan
    features_ND = encoder.encode(crops_N3SS)
    assert features_ND[1].isnan().all()
    assert torch.equal(features_ND[[0, 2, 3]], expected_ND[[0, 2, 3]])


def test_a_shard_is_annotated_alike_by_processes_and_by_threads(tmp_path: Path) -> None:
    files = [(f"{n}.jpg", encoded(width=230 + 9 * n, height=224, seed=n)) for n in range(40)]
    tar = write_tar(tmp_path / "a.tar", files)
    task = ShardTask(url=str(tar), shard="a.tar", annotation="a.parquet")
    scorer = on_device(compact())
    rows: list[list[dict[str, object]]] = []
    with DecodePool(2, scorer.pin) as pool:
        for name, decoder in {"pool": pool, "threads": TWO_THREADS}.items():
            annotate(task, scorer, str(tmp_path / name), decoder)
            rows.append(read(str(tmp_path / name / "a.parquet")).to_pylist())
    assert len(rows[0]) == len(files)
    assert rows[0] == rows[1]


@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "auto"])
def test_the_warm_up_trusts_this_gpu(weights: str, dtype: str) -> None:
    config = rn50(weights).model_copy(update={"dtype": dtype})
    model = load_clip(config)
    warm_up(Scorer(config, device=DEVICE, loaded=model), rehearse(config, model))


@needs_gpu
def test_memory_that_processes_share_is_pinned_until_it_is_closed() -> None:
    scorer = on_device(compact())
    slabs = Slabs(scorer.pin)
    _, slab = slabs.take()
    memory = torch.from_numpy(slab)
    assert memory[:1].is_pinned()
    slabs.close()
    assert not memory[:1].is_pinned()


@needs_gpu
def test_a_gpu_that_is_behind_gets_no_pixel_of_another_picture() -> None:
    """Copies go on while it computes, and memory is used again."""
    scorer = on_device(compact(crops="global"), batch_size=4)
    images = [np.full((224, 224, 3), 6 * number, np.uint8) for number in range(40)]
    expected = [bits(scorer.score([image])) for image in images]

    def delayed() -> Iterable[RgbImage]:
        buffer = np.empty_like(images[0])
        for image in images:
            torch.cuda._sleep(20_000_000)  # pyright: ignore[reportPrivateUsage]
            buffer[:] = image
            yield buffer

    assert [bits([score]) for score in scorer.score(delayed())] == expected


@needs_gpu
def test_attributes_are_those_of_a_cpu_and_leave_scores_alone(weights: str) -> None:
    asked = {"dark": (("a dark photo", "a bright photo"), ("night", "day"))}
    config = rn50(weights)
    plain = list(on_device(config).score(IMAGES))
    asking = list(Scorer(config, device=DEVICE, batch_size=8, attributes=asked).score(IMAGES))
    by_cpu = list(Scorer(config, batch_size=8, attributes=asked).score(IMAGES))
    for one, two, three in zip(plain, asking, by_cpu, strict=True):
        for cue in CUES:
            np.testing.assert_array_equal(getattr(one, cue), getattr(two, cue))
        np.testing.assert_allclose(two.per_crop.attributes, three.per_crop.attributes, atol=1e-4)
