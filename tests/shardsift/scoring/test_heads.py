"""Heads: what torch gives in float64, in the pass and later, and one line for each mistake."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from shardsift import Scorer, StandardClip, annotate_shards
from shardsift.cli.app import main
from shardsift.config.heads import bundled_heads, read_head
from shardsift.errors import ConfigError, ModelError
from shardsift.measures import Tower
from shardsift.scoring.heads import Head, load_heads
from shardsift.verification.outputs import claim_output, verify
from tests.outputs import kept_rows
from tests.samples import encoded, write_tar

D = 256
TOWER = Tower(values=D, digest="1" * 16, meaning="")


class Standardise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.randn(1, D) / 10)
        self.register_buffer("variance", torch.rand(1, D) + 0.5)

    def forward(self, x: torch.Tensor) -> Any:
        buffers: Any = dict(self.named_buffers())
        return (x - buffers["mean"]) / buffers["variance"].sqrt()


def network(outputs: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[tuple[str, nn.Module]] = [
        ("norm", Standardise()),
        ("first", nn.Linear(D, 32)),
        ("act", nn.ReLU()),
        ("second", nn.Linear(32, outputs, bias=False)),
    ]
    return nn.Sequential(OrderedDict(layers))


HEAD: dict[str, Any] = {
    "tower": {"model": "compact"},
    "weights": "head.safetensors",
    "normalised": True,
    "layers": [
        {"standardise": "norm"},
        {"linear": "first"},
        {"activation": "relu"},
        {"linear": "second"},
    ],
    "meaning": "made up",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_file(network().state_dict(), tmp_path / "head.safetensors")
    write(tmp_path)
    return tmp_path


def write(folder: Path, name: str = "head", **changes: Any) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(HEAD | changes))
    return str(path)


def loaded(file: str, tower: Tower = TOWER, model: str = "compact") -> Head:
    settings = {"model": model, "pretrained": None}
    (head,) = load_heads([read_head("liked", file)], {"clip": (tower, settings)})
    return head


def embeddings(rows: int = 130) -> Any:
    rows_ND = np.random.default_rng(0).standard_normal((rows, D)).astype(np.float16)
    rows_ND[3] = 0
    return rows_ND


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(
    ("gives", "outputs", "place"), [("value", 1, 0), ("sigmoid", 1, 0), ("softmax", 3, 2)]
)
def test_values_are_torchs_in_float64(
    gives: str, outputs: int, place: int, suffix: str, normalised: bool, folder: Path
) -> None:
    model = network(outputs)
    if suffix == "pth":
        torch.save({"state_dict": model.state_dict()}, folder / "own.pth")
    else:
        save_file(model.state_dict(), folder / "own.safetensors")
    changes: dict[str, Any] = {"gives": gives, "place": place, "normalised": normalised}
    head = loaded(write(folder, weights=f"own.{suffix}", **changes))
    rows_ND = embeddings()
    x_ND = torch.from_numpy(rows_ND).double()
    x_ND = x_ND / x_ND.norm(dim=1, keepdim=True) if normalised else x_ND
    with torch.inference_mode():
        expected: Any = model.double()(x_ND)
    expected = expected.softmax(dim=1) if gives == "softmax" else expected
    expected = expected.sigmoid() if gives == "sigmoid" else expected
    (found_N,) = head.measure(rows_ND)
    assert found_N.dtype == np.float32
    assert np.flatnonzero(np.isnan(found_N)).tolist() == [3]
    has_one = np.arange(len(rows_ND)) != 3
    np.testing.assert_allclose(found_N[has_one], expected[has_one, place], rtol=2e-5, atol=2e-5)
    (alone_N,) = head.measure(rows_ND[7:8])
    assert alone_N[0] == found_N[7]


def test_the_digest_knows_weights_file_and_tower_but_no_path(folder: Path) -> None:
    one = loaded(write(folder)).digest
    (folder / "more").mkdir()
    (folder / "more" / "same.safetensors").write_bytes((folder / "head.safetensors").read_bytes())
    assert loaded(write(folder / "more", weights="same.safetensors")).digest == one
    other_tower = loaded(write(folder), Tower(values=D, digest="2" * 16, meaning=""))
    changed = {name: weights + 1 for name, weights in network().state_dict().items()}
    save_file(changed, folder / "other.safetensors")
    others = [other_tower]
    others += [loaded(write(folder, gives="sigmoid"))]
    others += [loaded(write(folder, weights="other.safetensors"))]
    assert len({one, *(each.digest for each in others)}) == 4


class Code:
    def __reduce__(self) -> Any:
        return (print, ("code of a pickle was run",))


@pytest.mark.parametrize(
    ("weights", "changes", "says"),
    [
        ("head.safetensors", {"tower": {"model": "ViT-L-14", "pretrained": "openai"}}, "is for em"),
        ("head.safetensors", {"tower": {"model": "compact", "digest": "2" * 16}}, "is for embedd"),
        ("head.safetensors", {"layers": [{"linear": "nothing"}]}, "has no nothing.weight; there a"),
        ("head.safetensors", {"layers": [{"linear": "second"}]}, r"shape \(1, 32\), not \(1, 256"),
        ("head.safetensors", {"layers": [{"linear": "first"}]}, "gives 32 values"),
        ("head.safetensors", {"place": 1}, "gives 1 values"),
        ("code.pth", {}, "code in it is not run"),
        ("list.pth", {}, "is no state_dict"),
        ("short.pth", {}, "can't be read"),
        ("short.safetensors", {}, "can't be read"),
        ("empty.pth", {}, "can't be read"),
    ],
)
def test_mistakes_are_one_line(
    weights: str, changes: dict[str, Any], says: str, folder: Path, capsys: Any
) -> None:
    torch.save(Code(), folder / "code.pth")
    torch.save([torch.ones(2)], folder / "list.pth")
    torch.save(network().state_dict(), folder / "whole.pth")
    (folder / "short.pth").write_bytes((folder / "whole.pth").read_bytes()[:3000])
    (folder / "short.safetensors").write_bytes((folder / "head.safetensors").read_bytes()[:3000])
    (folder / "empty.pth").write_bytes(b"")
    file = write(folder, weights=weights, **changes)
    with pytest.raises(ModelError, match=f"^--head liked: .*{says}[^\n]*$"):
        loaded(file)
    assert "code of a pickle" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weights": "nowhere.pth"}, "its weights nowhere.pth are not here"),
        ({"layers": [{"linear": "a", "activation": "relu"}]}, "a layer is one of linear"),
        ({"layers": [{"activation": "swish"}]}, "is not among relu, gelu"),
        ({"normalized": True}, "normalized"),
        ({"layers": []}, "layers"),
    ],
)
def test_mistakes_in_a_file_name_it(changes: dict[str, Any], says: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        read_head("liked", write(folder, **changes))


@pytest.mark.parametrize("name", bundled_heads())
def test_the_bundled_recipes_take_weights_of_their_shapes(name: str, folder: Path) -> None:
    """The shapes are those of the published networks."""
    nsfw_h = (1024, 1024, 2048, 1024, 256, 128, 16, 1)
    sizes = {
        "laion-aesthetic-v2": (768, 1024, 128, 64, 16, 1),
        "laion-aesthetic-v1": (768, 1),
        "laion-nsfw-l14": (768, 64, 512, 256, 1),
        "laion-nsfw-h14": nsfw_h,
    }[name]
    content = yaml.safe_load(bundled_heads()[name].read_text())
    linear = [layer["linear"] for layer in content["layers"] if "linear" in layer]
    weights: dict[str, torch.Tensor] = {}
    for prefix, before, after in zip(linear, sizes[:-1], sizes[1:], strict=True):
        dot = "." if prefix else ""
        weights[f"{prefix}{dot}weight"] = torch.zeros(after, before)
        weights[f"{prefix}{dot}bias"] = torch.zeros(after)
    weights |= {"norm.mean": torch.zeros(768), "norm.variance": torch.ones(768)}
    torch.save(weights, folder / content["weights"])
    tower = Tower(values=sizes[0], digest="", meaning="")
    spec = read_head("liked", name)
    (head,) = load_heads([spec], {"clip": (tower, spec.head.tower.model_dump())})
    expected = 0.5 if content["gives"] == "sigmoid" else 0
    assert head.measure(np.ones((2, sizes[0]), np.float16))[0].tolist() == [expected, expected]


def test_the_pass_and_ask_give_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [(f"{n:02}.jpg", encoded(seed=n)) for n in range(21)]
    files.insert(4, ("03a.jpg", b"no picture"))
    write_tar(folder / "in" / "0.tar", files)
    clip = StandardClip("compact", embeddings=True)
    scorer = Scorer("compact", crop_plan="global")
    annotate_shards("in", scorer, "scores", measures=[clip])
    towers = {"clip": (clip.tower, clip.settings)}
    heads = load_heads([read_head("liked", "head.yaml")], towers)
    annotate_shards("in", scorer, "with-heads", measures=[StandardClip("compact"), *heads])
    assert not Path("with-heads/_embeddings").exists()
    words = ["ask", "scores", "--output", "answers", "--head", "liked=head.yaml", "--actors", "1"]
    assert main(words) == 0
    now, later = (pq.read_table(f"{name}/0.parquet") for name in ("with-heads", "answers"))
    assert now["liked"].equals(later["liked"])
    assert now["liked"].null_count == 1
    assert now["quality"].equals(pq.read_table("scores/0.parquet")["quality"])
    for output in ("scores", "with-heads", "answers"):
        assert verify(claim_output(output)).problems == []
    record = json.loads(Path("with-heads/_run.json").read_text())
    assert record["measures"]["liked"]["needs"] == ["features:clip"]
    best = ["filter", "scores", "--with", "answers", "--by", "liked", "--keep-count", "1"]
    assert main([*best, "--output", "kept"]) == 0
    values: Any = now["liked"].fill_null(-1e9).to_numpy()
    place = int(values.argmax())
    assert kept_rows(Path("kept")) == {("0.tar", place)}
    capsys.readouterr()
    assert main(["ask", "scores", "--output", "more", "--head", "liked=laion-aesthetic-v2"]) == 2
    assert "its weights sac+logos+ava1-l14-linearMSE.pth are not here" in capsys.readouterr().err
