"""Images in, scores out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, cast, get_args, overload

import numpy as np
import torch
from torch import Tensor

from shardsift.config import (
    AnyDtype,
    Attributes,
    CropPlan,
    ScoreConfig,
    attribute_columns,
    checked_attributes,
    load_config,
)
from shardsift.errors import ConfigError, ErrorCode, ImageError, InputError
from shardsift.images.decode import AnyImage, as_rgb
from shardsift.images.slabs import Bytes, Unpin
from shardsift.records import CUES, CropScores, ImageFeatures, ImageScore, RgbImage
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
    Transfer,
    fetch_later,
    record,
)

Errors = Literal["raise", "return"]
"""Treatment of broken images: raise the first error, or return each in the place of the score."""


class ImageScorer(Protocol):
    """Interface of a scorer, as far as annotating needs it: MA-CLIP, or a test's fake."""

    @property
    def config(self) -> ScoreConfig:
        """Configuration; every annotation file records it."""
        ...

    @property
    def attributes(self) -> Attributes:
        """Attributes that are asked for; scores have their values in this order."""
        ...

    @property
    def embedding_values(self) -> int:
        """Number of values of an embedding; 0 if embeddings aren't asked for."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a score."""
        ...

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """Yield one score for each image, in order."""
        ...

    def pin(self, memory: Bytes) -> Unpin:
        """Pin memory for images, for fast copies; return a function that undoes it."""
        ...


class Scorer:
    """MA-CLIP of images in memory. Threads may share it.

    Images are paths, URLs, bytes of image files, PIL images, uint8 arrays of shape (height, width,
    3), or dicts with `bytes` and `path`. Settings that aren't parameters here, such as prompts,
    are those of a `ScoreConfig`, which may be given in the place of a model's name.

    Examples:
        >>> scorer = Scorer("compact")  # Scorer(device="cuda") is the paper's RN50 on a GPU
        >>> score = scorer("a.jpg")
        >>> score
        ImageScore(quality=0.7132, q_sim=0.6481, q_mag=0.8120, w_sim=0.5594, crops=7)
        >>> score.quality, float(score)
        (0.7132, 0.7132)
        >>> score.per_crop.quality.shape
        (7,)
        >>> [score.quality for score in scorer(["a.jpg", "b.png"])]
        [0.7132, 0.4519]
    """

    def __init__(
        self,
        model: str | ScoreConfig = "RN50",
        *,
        pretrained: str | None = None,
        crop_plan: CropPlan | None = None,
        dtype: AnyDtype | None = None,
        attributes: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        embeddings: bool = False,
        device: str = "cpu",
        batch_size: int | None = None,
        loaded: ClipModel | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: a model's name, as of `shardsift score --model`, or a configuration.
            pretrained: a tag or a file of weights, as of `--pretrained`.
            crop_plan: `paper`, `fast` or `global`, as of `--crops`.
            dtype: arithmetic of the encoder, as of `--dtype`.
            attributes: pairs of opposite prompts by name, such as
                `{"watermark": [("a photo with a watermark", "a photo without one")]}`; each gives
                `score.attributes[name]`, 0 to 1.
            embeddings: keep the feature of each whole image in `score.embedding`.
            device: `cpu`, `cuda` or `cuda:N`. On a GPU, TF32 and autotuning of convolutions are
                switched off in this process, so that scores are exact.
            batch_size: crops in one call of the encoder, rounded up to whole steps of it; by
                default 64 on a CPU and 256 on a GPU. Scores only change by rounding.
            loaded: the model and its attributes, if they have been loaded before.

        Raises:
            ConfigError: if a setting or an attribute can't be used.
            ModelError: if the weights can't be loaded.
            DeviceError: if the device is missing, lacks the dtype, or has too little memory.
        """
        settings = {"pretrained": pretrained, "crops": crop_plan, "dtype": dtype}
        given = {name: value for name, value in settings.items() if value is not None}
        base = dict(model.scoring()) if isinstance(model, ScoreConfig) else {"model": model}
        config = load_config(ScoreConfig, overrides=base | given, in_python=True)
        self.config: ScoreConfig = decide_dtype(config, device)
        where = torch.device(device)
        batch_size = batch_size or (256 if where.type == "cuda" else 64)
        loaded = loaded or load_clip(self.config, checked_attributes(attributes or {}))
        with explained(where, batch_size):
            self._prepare(Encoder(self.config, device, loaded), batch_size, embeddings=embeddings)

    def _prepare(self, encoder: Encoder, batch_size: int, *, embeddings: bool) -> None:
        self.encoder = encoder
        self.embedding_values: int = encoder.text_P2D.shape[2] if embeddings else 0
        # Kernels round by the size of the batch, not by its other images. So the encoder
        # gets steps of one size, and a score is the same to the bit whatever shares its batch.
        self._step = max(MIN_BATCH, min(batch_size, encoder.crops_at_a_time or batch_size))
        self.batch_size: int = math.ceil(batch_size / self._step) * self._step
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
        """Attributes that are asked for."""
        return self.encoder.attributes

    @overload
    def score(
        self, images: Iterable[AnyImage | None], *, errors: Literal["raise"] = "raise"
    ) -> Iterator[ImageScore]: ...

    @overload
    def score(
        self, images: Iterable[AnyImage | None], *, errors: Errors
    ) -> Iterator[ImageScore | ImageError]: ...

    def score(
        self, images: Iterable[AnyImage | None], *, errors: Errors = "raise"
    ) -> Iterator[ImageScore | ImageError]:
        """Yield the score of each image, in order.

        Crops of consecutive images share batches, so images are taken some way ahead of the scores
        that are yielded: about a batch of crops, and the images for the next.

        Args:
            images: any iterable; may be longer than memory holds.
            errors: `return` yields an `ImageError` instead of the score of an image that can't be
                read or decoded; `raise` raises it.

        Raises:
            InputError: for a path that can't be read, and for a value that isn't an image.
            ImageError: for an image that is broken or missing, with a `code`.
            ConfigError: if `errors` is something else.
        """
        if errors not in get_args(Errors):
            raise ConfigError(f"errors {errors!r}: is not among {', '.join(get_args(Errors))}")
        most = self.config.max_pixels
        failed: deque[tuple[int, ImageError]] = deque()

        def decoded() -> Iterator[RgbImage]:
            for number, image in enumerate(images):
                try:
                    yield as_rgb(image, f"image {number}", most)
                except (ImageError, InputError) as error:
                    if errors == "raise":
                        raise
                    failed.append((number, _as_image_error(error, image)))

        number = 0
        for score in self._score_decoded(decoded()):
            while failed and failed[0][0] == number:
                yield failed.popleft()[1]
                number += 1
            yield score
            number += 1
        yield from (error for _, error in failed)

    def _score_decoded(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        names = tuple(self.attributes)
        crop_counts: deque[int] = deque()
        rest_VM = np.empty((self._values, 0), np.float32)
        for batch_VN, features_ND in self._score_batches(images, crop_counts):
            rest = rest_VM.shape[1]
            scores_VN = np.concatenate([rest_VM, batch_VN], axis=1)
            begin = 0
            while crop_counts and (end := begin + crop_counts[0]) <= scores_VN.shape[1]:
                crop_counts.popleft()
                whole = end - 1 - rest  # the last crop is in this batch
                quality, q_sim, q_mag, w_sim, *_ = scores_VN[:, begin:end]
                yield ImageScore(
                    per_crop=CropScores(
                        quality=quality,
                        q_sim=q_sim,
                        q_mag=q_mag,
                        w_sim=w_sim,
                        attributes=scores_VN[len(CUES) :, begin:end],
                    ),
                    attribute_names=names,
                    embedding=features_ND[whole].copy(),
                )
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
        """Pin memory, so that a GPU copies from it directly; return a function that undoes it."""
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
    def __call__(self, images: Sequence[AnyImage | None]) -> list[ImageScore]: ...

    @overload
    def __call__(
        self, images: Sequence[AnyImage | None], *, errors: Errors
    ) -> list[ImageScore | ImageError]: ...

    @overload
    def __call__(
        self, images: Mapping[str, Sequence[Any]], *, errors: Errors = "raise"
    ) -> dict[str, Any]: ...

    def __call__(self, images: Any, *, errors: Errors = "raise") -> Any:
        """Score one image, a list of images, or a batch of a data set with a column `image`.

        The result is a score, a list of scores, or columns: `quality`, `q_sim`, `q_mag`, `w_sim`
        and attributes as float32, means over crops, and `embedding` with `embeddings=True`. Ray
        Data's batches are returned with these columns; for Hugging Face's, only these columns are
        returned, which `datasets.map(scorer, batched=True)` adds.

        `errors` is that of `score`. With `return`, a batch has a column `error`, None or the code
        of the image's error, whose scores are NaN.

        Raises as `score`.
        """
        if isinstance(images, Mapping) and "image" in images:
            return self._score_columns(images, errors)
        is_list = isinstance(images, list | tuple)
        several = cast(Iterable[AnyImage], images if is_list else [images])
        scores = list(self.score(several, errors=errors))
        return scores if is_list else scores[0]

    def _score_columns(self, batch: Mapping[str, Sequence[Any]], errors: Errors) -> dict[str, Any]:
        found = list(self.score(batch["image"], errors=errors))
        scores = [None if isinstance(one, ImageError) else one for one in found]
        names = [*CUES, *attribute_columns(self.attributes)]
        values_NV = np.full((len(found), len(names)), np.nan, np.float32)
        for row_V, score in zip(values_NV, scores, strict=True):
            if score is not None:
                row_V[:] = *(getattr(score, cue) for cue in CUES), *score.attributes.values()
        columns: dict[str, Any] = dict(zip(names, values_NV.T.copy(), strict=True))
        if size := self.embedding_values:
            nothing = np.full(size, np.nan, np.float16)
            rows = [nothing if score is None else score.embedding for score in scores]
            columns["embedding"] = np.stack(rows) if rows else np.empty((0, size), np.float16)
        if errors == "return":
            columns["error"] = [
                str(one.code) if isinstance(one, ImageError) else None for one in found
            ]
        # Hugging Face's batches are no dicts; returned images would be encoded again.
        return {**batch, **columns} if isinstance(batch, dict) else columns

    @torch.inference_mode()
    def _score_batches(
        self, images: Iterable[RgbImage], crop_counts: deque[int]
    ) -> Iterator[Fetched]:
        """Pack crops into batches; scores of a batch come when `lag` more have been started."""
        # Local to this call: other threads, and nested calls, have their own.
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
            # The crops behind them are left from earlier batches.
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
        # A view: the memory stays channels-last, which convolves faster.
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


def _as_image_error(error: ImageError | InputError, image: Any) -> ImageError:
    if isinstance(error, ImageError):
        return error
    is_place = isinstance(image, str | PathLike | Mapping)
    code = ErrorCode.MISSING_IMAGE if is_place else ErrorCode.UNSUPPORTED_FORMAT
    return ImageError(code, str(error))
