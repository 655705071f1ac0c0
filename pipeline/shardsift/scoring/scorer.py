"""Images in, scores out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, overload

import numpy as np
import torch
from torch import Tensor

from shardsift.config import Attributes, ScoreConfig, attribute_columns, checked_attributes
from shardsift.images.decode import AnyImage, as_rgb
from shardsift.images.slabs import Bytes, Unpin
from shardsift.records import CUES, Embedding, ImageFeatures, ImageScore, RgbImage
from shardsift.scoring.clip import ClipModel, load_clip
from shardsift.scoring.crops import CROP_SIZE, send_in_groups
from shardsift.scoring.devices import decide_dtype, explained
from shardsift.scoring.encoder import MIN_BATCH, Encoder, encode_views
from shardsift.scoring.maclip import fuse, magnitude_cue, similarity_cue
from shardsift.scoring.transfer import (
    Batch,
    Compute,
    Fetch,
    Fetched,
    PinnedMemory,
    Scores,
    Transfer,
    fetch_later,
    record,
)


class ImageScorer(Protocol):
    """What annotating needs of a scorer: MA-CLIP, or a test's fake."""

    @property
    def config(self) -> ScoreConfig:
        """What was asked for; every annotation file records it."""
        ...

    @property
    def attributes(self) -> Attributes:
        """What else is asked; scores have their values in this order."""
        ...

    @property
    def embedding_values(self) -> int:
        """How many values the embedding of a score has; 0 if embeddings aren't asked for."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a score."""
        ...

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """Yield one score for each image, in order."""
        ...

    def pin(self, memory: Bytes) -> Unpin:
        """Make memory that images will lie in quick to copy from; return what undoes it."""
        ...


class Scorer:
    """MA-CLIP of images in memory. Threads may share it, and images may be scored on the way.

    Ray Data calls it, too: `dataset.map_batches(Scorer, fn_constructor_args=[ScoreConfig()])` adds
    the columns `quality`, `q_sim`, `q_mag` and `w_sim`, those of attributes, and `embedding`,
    if these are asked for, to batches with a column `image`.

    Examples:
        >>> scorer = Scorer(ScoreConfig(), device="cuda")
        >>> scorer(image)  # PIL, RGB as uint8, shape (height, width, 3), or a path or URL
        ImageScore(quality=0.7132, q_sim=0.6481, q_mag=0.8120, w_sim=0.5594, crops=7)
        >>> [float(score.quality.mean()) for score in scorer.score(images)]
    """

    def __init__(
        self,
        config: ScoreConfig,
        *,
        attributes: Attributes | None = None,
        embeddings: bool = False,
        device: str = "cpu",
        batch_size: int | None = None,
        model: ClipModel | None = None,
    ) -> None:
        """Load the model.

        Args:
            config: what decides scores.
            attributes: what else is asked: pairs of opposite prompts by name, such as
                `{"watermark": [("a photo with a watermark", "a photo without one")]}`.
            embeddings: keep the feature of each image's whole view, before normalisation, float16.
            device: `cpu`, `cuda` or `cuda:N`. On these, convolutions of this process go without
                TF32 and autotuning from now on, for exact scores.
            batch_size: crops in one call of the encoder, rounded up to whole steps of it; 64 by
                default, and 256 on a GPU. Changes scores by rounding alone.
            model: the same, attributes included, if it has been loaded.

        Raises:
            ConfigError: if an attribute is no such thing.
            ModelError: if the weights can't be had.
            DeviceError: if the device isn't there, lacks the dtype, or has too little memory.
        """
        self.config = config = decide_dtype(config, device)
        where = torch.device(device)
        batch_size = batch_size or (256 if where.type == "cuda" else 64)
        model = model or load_clip(config, checked_attributes(attributes or {}))
        with explained(where, batch_size):
            self._prepare(Encoder(config, device, model), batch_size, embeddings=embeddings)

    def _prepare(self, encoder: Encoder, batch_size: int, *, embeddings: bool) -> None:
        self.encoder = encoder
        self.embedding_values = encoder.text_P2D.shape[2] if embeddings else 0
        # Kernels round by the size of their batch, and not by what else is in it. So the encoder
        # gets steps of one size, and a score is the same to the bit whatever the batch it shares.
        self._step = max(MIN_BATCH, min(batch_size, encoder.crops_at_a_time or batch_size))
        self.batch_size = math.ceil(batch_size / self._step) * self._step
        self._values = len(CUES) + len(encoder.attributes)
        self._pinned = PinnedMemory(encoder.device)
        self._recorded: Compute | None = None
        if encoder.device.type == "cuda":
            self._recorded = record(self._launch_batch, self._empty_batch())
        # While a GPU computes a batch, the next one is packed.
        self._lag = 0 if encoder.device.type == "cpu" else 1

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a score: 16 hexadecimal digits."""
        return self.config.fingerprint(self.encoder.digest)

    @property
    def attributes(self) -> Attributes:
        """What else is asked."""
        return self.encoder.attributes

    def score(self, images: Iterable[AnyImage]) -> Iterator[ImageScore]:
        """Yield the score of each image, in order.

        Crops of consecutive images share batches, so a score may be yielded some images after its
        own was taken from `images`; a batch of crops is held, and images for the next.

        Raises:
            InputError: for an array that is no RGB image, or a path at which nothing can be read.
            ImageError: for a PIL image that has no RGB, or a file that turns out to be broken.
        """
        most = self.config.max_pixels
        images = (as_rgb(image, f"image {number}", most) for number, image in enumerate(images))
        crop_counts: deque[int] = deque()
        rest_VM = np.empty((self._values, 0), np.float32)
        for batch_VN, features_ND in self._score_batches(images, crop_counts):
            rest = rest_VM.shape[1]
            scores_VN = np.concatenate([rest_VM, batch_VN], axis=1)
            begin = 0
            while crop_counts and (end := begin + crop_counts[0]) <= scores_VN.shape[1]:
                crop_counts.popleft()
                whole = end - 1 - rest  # the last crop, and so in the batch that has come
                yield _image_score(scores_VN[:, begin:end], features_ND[whole].copy())
                begin = end
            rest_VM = scores_VN[:, begin:]

    @torch.inference_mode()
    def features(self, images: Iterable[AnyImage]) -> Iterator[ImageFeatures]:
        """Yield what each image's score is made of, in order, to try ideas on.

        One image is encoded at a time, so `score` is faster; both agree within 1e-6 in float32.
        The text side is `scorer.encoder.text_P2D`, unit vectors of P pairs of prompts, the good
        one first, shape (P, 2, D), and `scorer.encoder.logit_scale`, the factor on cosines.

        Raises as `score`.

        Examples:
            >>> for found in scorer.features(images):
            ...     norm = np.linalg.norm(found.features, axis=1)  # of each view, shape (M,)
            ...     print(float((found.w_sim * found.q_sim + (1 - found.w_sim) * norm).mean()))
        """
        for number, image in enumerate(images):
            rgb = as_rgb(image, f"image {number}", self.config.max_pixels)
            features_MD = encode_views(self.encoder, rgb, self.config.crops)
            scores_VM = self._finish(features_MD).scores_VN[: len(CUES)].cpu().numpy()
            yield ImageFeatures(
                features=features_MD.cpu().numpy(), **dict(zip(CUES, scores_VM, strict=True))
            )

    def pin(self, memory: Bytes) -> Unpin:
        """Let a GPU copy images from this memory by itself; return what undoes that."""
        return self._pinned.pin(memory)

    def __repr__(self) -> str:
        config = self.config
        return (
            f"Scorer({config.model}, crops={config.crops!r}, dtype={config.dtype!r}, "
            f"device={str(self.encoder.device)!r}, fingerprint={self.fingerprint!r})"
        )

    @overload
    def __call__(self, images: AnyImage) -> ImageScore: ...

    @overload
    def __call__(self, images: Mapping[str, Sequence[Any]]) -> dict[str, Any]: ...

    def __call__(
        self, images: AnyImage | Mapping[str, Sequence[Any]]
    ) -> ImageScore | dict[str, Any]:
        """Score one image; or a Ray Data batch with a column `image`, to columns with its means.

        Raises as `score`.
        """
        if isinstance(images, Mapping):
            return self._score_columns(images)
        (score,) = self.score([images])
        return score

    def _score_columns(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Add means over crops, float32."""
        scores = list(self.score(batch["image"]))
        values: dict[str, Any] = {
            cue: [getattr(score, cue).mean() for score in scores] for cue in CUES
        }
        for place, name in enumerate(attribute_columns(self.attributes)):
            values[name] = [score.attributes[place].mean() for score in scores]
        added: dict[str, Any] = {name: np.array(of, np.float32) for name, of in values.items()}
        if self.embedding_values:
            added["embedding"] = np.stack([score.embedding for score in scores])
        return {**batch, **added}

    @torch.inference_mode()
    def _score_batches(
        self, images: Iterable[RgbImage], crop_counts: deque[int]
    ) -> Iterator[Fetched]:
        """Pack crops into batches; scores of a batch come when `lag` more have been started."""
        # The call's own: other threads, and images that are scored on the way, have theirs.
        batch_NSS3 = self._empty_batch()
        filled = 0
        started: deque[Fetch] = deque()
        transfer = Transfer(self.encoder.device, self._pinned)
        for group in send_in_groups(images, self.config.crops, self.batch_size, transfer):
            crop_counts.extend(group.counts)
            begin = 0
            while begin < group.crops:
                end = min(group.crops, begin + self.batch_size - filled)
                group.cut(begin, end, batch_NSS3[filled : filled + end - begin])
                filled += end - begin
                begin = end
                if filled == self.batch_size:
                    started.append(fetch_later(self._score_batch(batch_NSS3)))
                    filled = 0
                    if len(started) > self._lag:
                        yield started.popleft()()
        if filled:
            whole_steps = math.ceil(filled / self._step) * self._step
            scores_VN, features_ND = self._score_batch(batch_NSS3[:whole_steps])
            # What lies behind them are crops of earlier batches.
            own = Batch(scores_VN[:, :filled], features_ND[:filled])
            started.append(fetch_later(own))
        for fetch in started:
            yield fetch()

    def _empty_batch(self) -> Tensor:
        return torch.zeros((self.batch_size, CROP_SIZE, CROP_SIZE, 3), device=self.encoder.device)

    def _score_batch(self, crops_NSS3: Tensor) -> Batch:
        return (self._recorded or self._launch_batch)(crops_NSS3)

    def _launch_batch(self, crops_NSS3: Tensor) -> Batch:
        """Score whole steps of crops, each by calls of one size from end to end."""
        steps = [self._finish(self._encode(step)) for step in crops_NSS3.split(self._step)]
        scores, features = zip(*steps, strict=True)
        return Batch(torch.cat(scores, dim=1), torch.cat(features))

    def _encode(self, crops_NSS3: Tensor) -> Tensor:
        # Permuted, not copied: what lies channels-last stays so, and convolves faster.
        return self.encoder.encode(crops_NSS3.permute(0, 3, 1, 2))

    def _finish(self, features_ND: Tensor) -> Batch:
        """Turn features into quality, q_sim, q_mag, w_sim and attributes, and keep some."""
        config, encoder = self.config, self.encoder
        scores = fuse(
            similarity_cue(features_ND, encoder.text_P2D, encoder.logit_scale),
            magnitude_cue(features_ND, config.box_cox_lambda),
            base_sim=config.base_sim,
            base_mag=config.base_mag,
            alpha=config.alpha,
        )
        values = [scores.quality, scores.q_sim, scores.q_mag, scores.w_sim]
        scores_VN = torch.stack([*values, *encoder.answers(features_ND)])
        return Batch(scores_VN, features_ND[:, : self.embedding_values].half())


def _image_score(scores_VN: Scores, embedding_D: Embedding) -> ImageScore:
    quality, q_sim, q_mag, w_sim = scores_VN[: len(CUES)]
    return ImageScore(
        quality=quality,
        q_sim=q_sim,
        q_mag=q_mag,
        w_sim=w_sim,
        attributes=scores_VN[len(CUES) :],
        embedding=embedding_D,
    )
