"""CLIP's two towers, loaded: the only module that knows open_clip, and the model hub.

MA-CLIP's text tower is used up here: its features of the prompts are all that is kept of it. Shapes
in names: N captions, L tokens, D feature values, P prompt pairs, Q those of attributes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import tempfile
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import open_clip
import torch
from huggingface_hub import constants
from pydantic import BaseModel, PositiveFloat, PositiveInt, ValidationError
from torch import Tensor, nn
from torch.nn import functional

from shardsift.config import Attributes, ScoreConfig, did_you_mean
from shardsift.documents import first_problem
from shardsift.errors import ConfigError, ModelError, NotHereError
from shardsift.images.views import View
from shardsift.measures import short_digest
from shardsift.scoring.crops import CROP_SIZE
from shardsift.scoring.weights import BUNDLED_MODEL, RANDOM_WEIGHTS, with_default_weights

_PROBE_SECONDS = 3.0


@contextmanager
def cache_alone_if_unreachable() -> Generator[str | None]:
    """Restrict the hub's client to its cache in the block, if the hub doesn't answer.

    Yields why nothing can be downloaded; None if it can.
    """
    root = logging.getLogger()
    root.addFilter(_is_no_failed_download)
    try:
        if constants.HF_HUB_OFFLINE:
            yield "HF_HUB_OFFLINE is set"
        elif (host := unreachable()) is None:
            yield None
        else:
            with cache_alone():
                yield f"{host} can't be reached"
    finally:
        root.removeFilter(_is_no_failed_download)


def _is_no_failed_download(record: logging.LogRecord) -> bool:
    """Drop open_clip's message; the caller of the model reports more."""
    return not str(record.msg).startswith("Failed to download")


@contextmanager
def cache_alone() -> Generator[None]:
    """Restrict the hub's client to its cache."""
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def unreachable() -> str | None:
    """Return the hub, or the proxy before it, if no server answers there within seconds."""
    endpoint = urlsplit(constants.ENDPOINT)
    proxy = getproxies().get(endpoint.scheme)
    place = urlsplit(proxy) if proxy else endpoint
    host, port = place.hostname or "", place.port or (80 if place.scheme == "http" else 443)
    answered: list[bool] = []

    def knock() -> None:  # in a thread: a DNS lookup has no time limit
        try:
            socket.create_connection((host, port), _PROBE_SECONDS).close()
        except OSError:
            return
        answered.append(True)

    thread = Thread(target=knock, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return None if answered else host


class _DownloadError(Exception):
    """A model that a hub has, or should have, is not on this machine."""


_LONG = 8
"""Multiple of the model's text length up to which prompts are tokenised."""

_CHARACTERS = 128
"""Characters for each token that a model reads; no text of more could fit."""

logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ClipModel:
    """The parts of a CLIP that scoring needs, on the CPU. Can be pickled: one process loads it for
    all.

    Attributes:
        visual: open_clip's image tower, float32.
        feature_values: D.
        text_P2D: unit text features of the prompts, float32, good prompt of each pair first.
        attributes: further questions.
        text_Q2D: unit text features of their prompts, in that order; None without questions.
        logit_scale: the factor on cosines.
        scale_311, shift_311: factor and summand for pixels of 0..255.
        digest: hash of the model config, its own mean and std, and all weights, whatever their path
            and file format.
        view: open_clip's own transform, except for mean and std.
        text: the text tower; None unless a standard CLIP is loaded.
    """

    visual: nn.Module
    feature_values: int
    text_P2D: Tensor
    attributes: Attributes
    text_Q2D: Tensor | None
    logit_scale: float
    scale_311: Tensor
    shift_311: Tensor
    digest: str
    view: View
    text: TextTower | None


def tower_digest(model: ClipModel) -> str:
    """Hash weights, model config and transform of a standard CLIP: 16 hexadecimal digits."""
    return short_digest(model.digest, repr(model.view))


def load_clip(
    config: ScoreConfig, attributes: Attributes | None = None, *, is_standard: bool = False
) -> ClipModel:
    """Load the model that a configuration names, and encode all prompts.

    A standard CLIP is open_clip's model as it is: with its image size, position embedding and text
    tower. Without that, it is MA-CLIP's.

    Raises:
        ModelError: if the model can't be had.
        ConfigError: if a prompt is longer than it reads.
    """
    config = with_default_weights(config)
    if _is_local(config):
        return _build(config, attributes or {}, is_standard)
    with cache_alone_if_unreachable() as problem:
        try:
            return _build(config, attributes or {}, is_standard)
        except _DownloadError as error:
            raise _cannot_download(config, problem) from error


def _is_local(config: ScoreConfig) -> bool:
    """Return whether the model can be loaded without a model hub."""
    if config.model.startswith("hf-hub:") or config.pretrained is None:
        return False
    return config.pretrained == RANDOM_WEIGHTS or Path(config.pretrained).is_file()


def _build(config: ScoreConfig, attributes: Attributes, is_standard: bool) -> ClipModel:
    name, preprocess = config.model, {}
    if name.endswith(".json"):
        name, preprocess = _register(Path(name))
    try:
        found = open_clip.get_model_config(name.replace("/", "-") if ":" not in name else name)
    except Exception as error:  # the hub's client raises many types
        raise _DownloadError(str(error)) from error
    if found is None:
        others = "`open_clip.list_models()` prints all"
        hint = did_you_mean(name, [*open_clip.list_models(), BUNDLED_MODEL], others)
        raise ModelError(
            f"--model {name}: open_clip has no such model; {hint} hf-hub:ORG/NAME and the path of "
            "a config .json can be given, too"
        )
    if _needs_quick_gelu(name, config.pretrained):
        found["quick_gelu"] = True
    architecture = _Architecture(name=name, config=found, preprocess=preprocess)
    model = _load(architecture, config, is_standard)
    if not config.position_embedding:
        _drop_positions(model.visual)
    if hasattr(model.visual, "output_tokens"):
        model.visual.output_tokens = False  # CoCa asks for tokens, for its text decoder
    model.eval().requires_grad_(False)
    scale_311, shift_311 = _normalisation(model)
    own = {key: architecture.preprocess[key] for key in _SCALE if key in architecture.preprocess}
    digest = _digest(architecture.config | own, model)
    view = _view(model)
    text = TextTower(model, architecture.name)
    return ClipModel(
        visual=text.take_visual(),
        feature_values=architecture.config["embed_dim"],
        text_P2D=text.encode(config.prompts),
        attributes=attributes,
        text_Q2D=text.encode_each(attributes) if attributes else None,
        logit_scale=float(model.logit_scale.exp()),
        scale_311=scale_311,
        shift_311=shift_311,
        digest=digest,
        view=view,
        text=text if is_standard else None,
    )


def _drop_positions(visual: Any) -> None:
    if hasattr(visual, "attnpool"):
        zeros_1D = torch.zeros_like(visual.attnpool.positional_embedding[:1])
        visual.attnpool.positional_embedding = nn.Parameter(zeros_1D)
    elif hasattr(visual, "positional_embedding"):
        visual.positional_embedding.data.zero_()
    elif getattr(getattr(visual, "trunk", None), "pos_embed", None) is not None:
        visual.trunk.pos_embed.data.zero_()


@dataclass(frozen=True, kw_only=True)
class _Architecture:
    """Architecture for open_clip to build.

    Attributes:
        name: what open_clip knows the model by.
        config: its model config, QuickGELU decided.
        preprocess: transform of its pixels, as far as a model config file has its own.
    """

    name: str
    config: dict[str, Any]
    preprocess: dict[str, Any]


class _ModelCfg(BaseModel):
    """Schema of a model config, for mistakes that open_clip has no clear message for."""

    embed_dim: PositiveInt
    vision_cfg: dict[str, Any]
    text_cfg: dict[str, Any]


class _Preprocess(BaseModel):
    mean: tuple[float, float, float] | None = None
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    interpolation: Literal["bicubic", "bilinear", "random"] | None = None
    resize_mode: Literal["shortest", "longest", "squash"] | None = None


class _ModelFile(BaseModel):
    """An open_clip model config, as on the hub beside weights."""

    model_cfg: _ModelCfg
    preprocess_cfg: _Preprocess = _Preprocess()


_SCALE = ("mean", "std")
_PREPROCESS = (*_SCALE, "interpolation", "resize_mode", "fill_color")


def _register(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        raise ModelError(f"--model {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"--model {file}: not JSON: {error}") from error
    is_whole = isinstance(content, dict) and "model_cfg" in content
    whole = cast(dict[str, Any], content if is_whole else {"model_cfg": content})
    try:
        _ModelFile.model_validate(whole)
    except ValidationError as error:
        problem = first_problem(error)
        raise ModelError(f"--model {file}: not an open_clip config: {problem}") from error
    content = cast(dict[str, Any], whole["model_cfg"])
    preprocess = cast(dict[str, Any], whole.get("preprocess_cfg", {}))
    text = json.dumps(content, sort_keys=True)
    name = f"shardsift-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        path.write_text(text)
        open_clip.add_model_config(path)
    return name, {key: preprocess[key] for key in _PREPROCESS if key in preprocess}


def _needs_quick_gelu(name: str, pretrained: str | None) -> bool:
    """Return whether the weights were trained with QuickGELU, as OpenAI's and all ResNets' were.

    open_clip's plain `RN50` config says otherwise and only warns. A weights file carries no hint,
    so it counts as QuickGELU if every published tag of that model does.
    """
    tags = open_clip.list_pretrained_tags_by_model(name)
    asked = [pretrained] if pretrained in tags else tags
    configs = [open_clip.get_pretrained_cfg(name, cast(str, tag)) for tag in asked]
    return bool(configs) and all(config.get("quick_gelu", False) for config in configs)


def _load(architecture: _Architecture, config: ScoreConfig, is_standard: bool) -> Any:
    """Build the model and load its weights into float32 on the CPU."""
    is_resnet = isinstance(architecture.config["vision_cfg"].get("layers"), list)
    random = config.pretrained == RANDOM_WEIGHTS
    if is_torchscript := _is_torchscript(config.pretrained):
        logger.warning(
            "%s: is TorchScript, a program that runs here with your rights; only use it if you "
            "trust its source, or convert it to .safetensors",
            config.pretrained,
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = open_clip.create_model(
                architecture.name,
                pretrained=None if random else config.pretrained,
                load_weights=not random,
                require_pretrained=not random,
                force_quick_gelu=architecture.config.get("quick_gelu", False),
                # ViTs are resized to our crops; an attention pool without positions needs no size
                force_image_size=None if is_resnet or is_standard else CROP_SIZE,
                force_preprocess_cfg=architecture.preprocess,
                pretrained_text=False,
                weights_only=not is_torchscript,
            )
        except Exception as error:  # open_clip and the hub's client raise many types
            raise _cannot_load(config, error) from error
    if random:
        logger.warning("weights are random: these scores carry no meaning")
    return model


def _is_torchscript(pretrained: str | None) -> bool:
    """Return whether a file is a TorchScript archive, as OpenAI's `RN50.pt` is."""
    if pretrained is None or not Path(pretrained).is_file():
        return False
    try:
        with zipfile.ZipFile(pretrained) as archive:
            return any(name.endswith("constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _cannot_load(config: ScoreConfig, error: Exception) -> ModelError | _DownloadError:
    if config.pretrained is not None and Path(config.pretrained).is_file():
        reason = " ".join(str(error).split())[:300]
        return ModelError(
            f"--pretrained {config.pretrained}: not weights of {config.model}: {reason}"
        )
    if config.model.endswith(".json") and config.pretrained == RANDOM_WEIGHTS:
        reason = " ".join(str(error).split())[:300]
        return ModelError(f"--model {config.model}: open_clip can't build it: {reason}")
    known = open_clip.list_pretrained_tags_by_model(config.model)
    if config.pretrained not in known and not config.model.startswith("hf-hub:"):
        return ModelError(
            f"--pretrained {config.pretrained}: no such file, and {config.model} has no such tag; "
            f"its tags: {', '.join(known) or 'none'}"
        )
    return _DownloadError(str(error))


def _cannot_download(config: ScoreConfig, problem: str | None) -> NotHereError:
    weights = f" ({config.pretrained})" if config.pretrained else ""
    cause = f"are not in the cache, and {problem}" if problem else "can't be downloaded"
    model = "NAME" if config.model.startswith("hf-hub:") else config.model
    return NotHereError(
        f"the weights of {config.model}{weights} {cause}; copy them here and pass --model "
        f"{model} --pretrained /path/to/weights.pt, or try --model compact, which needs no "
        "download"
    )


def _digest(architecture: dict[str, Any], model: nn.Module) -> str:
    digest = hashlib.sha256(json.dumps(architecture, sort_keys=True).encode())
    for name, weights in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


class TextTower:
    """The text tower of a CLIP, and its tokenizer; can be pickled.

    Attributes:
        name: as open_clip knows the model.
        logit_bias: the summand behind the factor on cosines; None unless the model was trained by a
            sigmoid of each pair, as SigLIP.
    """

    def __init__(self, model: Any, name: str) -> None:
        """Load the model's tokenizer. Raises ModelError."""
        self._model = model
        self.name: str = name
        bias = getattr(model, "logit_bias", None)
        self.logit_bias: float | None = None if bias is None else float(bias)
        try:
            self._tokenizer = open_clip.get_tokenizer(name)
        except ImportError as error:
            raise ModelError(
                f"--model {name}: its tokenizer needs another package: pip install "
                "'shardsift[transformers]'"
            ) from error
        except Exception as error:  # the hub's client raises many types
            reason = " ".join(str(error).split())[:300]
            raise ModelError(
                f"--model {name}: its tokenizer can't be downloaded: {reason}"
            ) from error

    def take_visual(self) -> nn.Module:
        """Return the image tower, which is no part of this any more."""
        visual, self._model.visual = self._model.visual, nn.Identity()
        return visual

    def to(self, device: torch.device, dtype: torch.dtype) -> TextTower:
        """Return a copy on a device."""
        moved = copy(self)
        moved._model = deepcopy(self._model).to(device, dtype)
        return moved

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, list[bool]]:
        """Tokenize captions, shape (N, L); also return which of them are cut, as open_clip cuts."""
        most = self._tokenizer(["a"]).shape[1]
        short = [caption[: _CHARACTERS * most] for caption in captions]
        tokens_NL = self._tokenizer(short)
        longer = self._tokenizer(short, context_length=_LONG * most)
        is_cut = (longer[:, most:] != longer[:, -1:]).any(dim=1).tolist()
        pairs = zip(is_cut, captions, short, strict=True)
        return tokens_NL, [cut or len(whole) > len(own) for cut, whole, own in pairs]

    @torch.inference_mode()
    def encode_tokens(self, tokens_NL: Tensor) -> Tensor:
        """Encode tokens on the tower's device to unit features: float32, shape (N, D)."""
        return functional.normalize(self._model.encode_text(tokens_NL).float(), dim=-1)

    @torch.inference_mode()
    def encode(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        """Encode prompts to unit features, float32, shape (P, 2, D).

        Raises ModelError, and ConfigError if a prompt is too long.
        """
        prompts = [prompt for pair in pairs for prompt in pair]
        tokens = self._tokenizer(prompts)
        self._check_length(prompts, tokens.shape[1])
        try:
            features = cast(Tensor, self._model.encode_text(tokens, normalize=True))
        except (IndexError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(
                f"--model {self.name}: its text tower can't read prompts: {reason}"
            ) from error
        return features.float().reshape(len(pairs), 2, -1)

    def _check_length(self, prompts: list[str], most: int) -> None:
        """Raise ConfigError if the end of a prompt is cut off, which tokenizers do silently."""
        longer = self._tokenizer(prompts, context_length=_LONG * most)
        is_cut = (longer[:, most:] != longer[:, -1:]).any(dim=1).tolist()
        for prompt, cut in zip(prompts, is_cut, strict=True):
            if cut:
                raise ConfigError(
                    f"prompt {prompt[:60]!r}… is longer than the {most} tokens that "
                    f"{self.name} reads; shorten it"
                )

    def encode_each(self, attributes: Attributes) -> Tensor:
        """Encode attributes, shape (Q, 2, D): pair by pair, so that none changes by the others."""
        pairs = [pair for pairs in attributes.values() for pair in pairs]
        return torch.cat([self.encode([pair]) for pair in pairs])


def _view(model: Any) -> View:
    settings = open_clip.get_model_preprocess_cfg(model)
    size = settings["size"]
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return View(
        height=height,
        width=width,
        resize=settings.get("resize_mode") or "shortest",
        bilinear=settings.get("interpolation") == "bilinear",
        fill=settings.get("fill_color") or 0,
    )


def _normalisation(model: Any) -> tuple[Tensor, Tensor]:
    """Return factor and summand for pixels of 0..255, each of shape (3, 1, 1).

    They scale pixels to 0..1, subtract the mean of the model's training, and divide by the standard
    deviation.
    """
    settings = open_clip.get_model_preprocess_cfg(model)
    mean, std = (torch.tensor(settings[key], dtype=torch.float64) for key in ("mean", "std"))
    scale_311, shift_311 = (part.float().view(3, 1, 1) for part in (1 / (255 * std), -mean / std))
    return scale_311, shift_311
