"""A standard CLIP beside the score: embeddings, and the similarity of picture and caption.

MA-CLIP's features are no CLIP embeddings: they lack the position embedding, and are of a squashed
picture. Here open_clip's model is used as it is, with its own transform.

Shapes in names: K pictures, N those with a caption, L tokens, S side of a view, D feature values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shardsift.columns import Column
from shardsift.config import AnyDtype, ClipConfig
from shardsift.measures import Measure, Preparer, Tower, clip_columns, short_digest
from shardsift.records import RgbImage
from shardsift.scoring.clip import ClipModel, TextTower, load_clip, tower_digest
from shardsift.scoring.devices import decide_dtype
from shardsift.scoring.encoder import CPU_BATCH, Encoder
from shardsift.scoring.weights import clip_settings, flags_of_clip, standard_config

_GPU_BATCH = 64


class StandardClip(Measure):
    """A CLIP as open_clip has it: `NAME_score`, `NAME_text_cut`, and embeddings if asked for.

    Examples:
        >>> clip = StandardClip("ViT-L-14", pretrained="openai", embeddings=True)
        >>> annotate_shards("corpus/*.tar", scorer, "corpus-scores", measures=[clip])

    Attributes:
        model: towers and transform, on the CPU.
    """

    needs: Sequence[str] = ("pixels", "text")

    def __init__(
        self,
        model: str,
        *,
        pretrained: str | None = None,
        name: str = "clip",
        caption: str = "txt",
        dtype: AnyDtype = "float32",
        embeddings: bool = False,
        device: str = "cpu",
    ) -> None:
        """Load the model; it moves to its device when it is first asked.

        Args:
            model: a model's name, as of `shardsift score --clip`.
            pretrained: a tag or a file of weights, as of `--clip-pretrained`.
            name: names columns and embeddings.
            caption: `txt`, or a key of the samples' `.json`.
            dtype: arithmetic of both towers.
            embeddings: keep the image feature of each picture.
            device: `cpu`, `cuda` or `cuda:N`.

        Raises:
            ModelError: if the weights can't be loaded.
            DeviceError: if the device is missing, or lacks the dtype.
        """
        self._asked = ClipConfig(model=model, pretrained=pretrained, caption=caption)
        config = decide_dtype(standard_config(self._asked, dtype), device)
        self.name: str = name
        self.caption: str = caption
        with flags_of_clip():
            self.model: ClipModel = load_clip(config, is_standard=True)
        self._config = config
        self._device = device
        self._encoder: Encoder | None = None
        self._text: TextTower | None = None
        self.batch_size: int = _GPU_BATCH if device != "cpu" else CPU_BATCH[config.decided_dtype]
        is_sigmoid = self._text_tower.logit_bias is not None
        self.columns: Sequence[Column] = clip_columns(name, shown(model), is_sigmoid=is_sigmoid)
        self.keeps_embeddings: bool = embeddings

    @property
    def _text_tower(self) -> TextTower:
        assert self.model.text is not None, "it is loaded as a standard CLIP"
        return self.model.text

    @property
    def tower(self) -> Tower:
        """The image tower; its digest doesn't depend on the dtype."""
        return Tower(
            values=self.model.feature_values,
            digest=tower_digest(self.model),
            meaning="CLIP image features before normalisation, of "
            f"{shown(self._asked.model)}, by open_clip's own transform",
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """Model, weights, dtype and caption, and the digest of the tower."""
        return clip_settings(self._asked, self._config.dtype) | {"tower": self.tower.digest}

    @property
    def digest(self) -> str:
        """Hash of towers, dtype and caption, whatever the path of the weights."""
        decisive = tower_digest(self.model), self._config.dtype, self.caption
        return short_digest(self.name, self.version, *decisive)

    @property
    def preparer(self) -> Preparer:
        """The transform, without the weights."""
        return self.model.view

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encoder": None, "_text": None}

    def to(self, device: str) -> None:
        """Move to a device. Raises DeviceError."""
        dtype = torch.bfloat16 if self._config.dtype == "bfloat16" else torch.float32
        self._encoder = Encoder(self._config, device, self.model)
        self._text = self._text_tower.to(torch.device(device), dtype)
        self.batch_size = _GPU_BATCH if device != "cpu" else CPU_BATCH[self._config.decided_dtype]

    @torch.inference_mode()
    def measure(self, batch: Sequence[tuple[RgbImage, str | None]]) -> Sequence[Any]:
        """Compute both columns, and embeddings, float16, shape (K, D)."""
        if self._encoder is None:
            self.to(self._device)
        assert self._encoder is not None, "it has moved"
        views, captions = zip(*batch, strict=True)
        features_KD = self._encode(self._encoder, np.stack(views))
        places = [place for place, caption in enumerate(captions) if caption is not None]
        scores: list[float | None] = [None] * len(batch)
        cuts: list[bool | None] = [None] * len(batch)
        if places:
            texts = [caption for caption in captions if caption is not None]
            tokens_NL, is_cut = self._text_tower.tokenize(texts)
            text_ND = self._encode_text(tokens_NL.to(self._encoder.device))
            similar_N = self._similarity(features_KD[places], text_ND).tolist()
            for place, score, cut in zip(places, similar_N, is_cut, strict=True):
                scores[place], cuts[place] = score, cut
        return [scores, cuts, features_KD.half().cpu().numpy()]

    def _similarity(self, image_ND: Tensor, text_ND: Tensor) -> Tensor:
        cosine_N = (functional.normalize(image_ND, dim=-1) * text_ND).sum(dim=-1)
        bias = self._text_tower.logit_bias
        if bias is None:
            return cosine_N
        return (cosine_N * self.model.logit_scale + bias).sigmoid()

    # Kernels round by the size of a batch, so all calls have one size, and a value is the same to
    # the bit whatever shares its batch.
    def _encode(self, encoder: Encoder, views_KSS3: RgbImage) -> Tensor:
        step, found = self.batch_size, list[Tensor]()
        for part_KSS3 in torch.from_numpy(views_KSS3).split(step):
            padded = _padded(part_KSS3.to(encoder.device), step).float()
            found.append(encoder.encode(padded.permute(0, 3, 1, 2))[: len(part_KSS3)])
        return torch.cat(found)

    def _encode_text(self, tokens_NL: Tensor) -> Tensor:
        assert self._text is not None, "it has moved"
        step, found = self.batch_size, list[Tensor]()
        for part_NL in tokens_NL.split(step):
            found.append(self._text.encode_tokens(_padded(part_NL, step))[: len(part_NL)])
        return torch.cat(found)


def load_standard_clips(
    clips: Mapping[str, ClipConfig], dtype: AnyDtype, embeddings: Sequence[str]
) -> list[StandardClip]:
    """Load the CLIPs of a run, by their names. Raises ModelError."""
    return [
        StandardClip(
            clip.model,
            pretrained=clip.pretrained,
            name=name,
            caption=clip.caption,
            dtype=dtype,
            embeddings=name in embeddings,
        )
        for name, clip in clips.items()
    ]


def shown(model: str) -> str:
    """Name a model without its path."""
    return model.rpartition("/")[2]


def _padded(part: Tensor, size: int) -> Tensor:
    """Repeat the last item until there are `size`."""
    return torch.cat([part, part[-1:].expand(size - len(part), *part.shape[1:])])
