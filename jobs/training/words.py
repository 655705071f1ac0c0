"""The words that captions and prompts are made of, and what each distortion harms.

An attribute is one axis of quality, with words for its good and its bad end.
"""

from __future__ import annotations

from typing import Final

Words = tuple[str, ...]


def _words(joined: str) -> Words:
    return tuple(joined.split("|"))


WORDS: Final[dict[str, tuple[Words, Words]]] = {
    "overall": (
        _words(
            "good|high quality|excellent|great|beautiful|pristine|professional|perfect|clean|"
            "best quality"
        ),
        _words("bad|low quality|poor|terrible|ugly|degraded|amateur|awful|damaged|worst quality"),
    ),
    "sharpness": (
        _words(
            "sharp|crisp|in focus|well focused|detailed|clear|with sharp edges|with crisp details"
        ),
        _words(
            "blurry|blurred|out of focus|unfocused|soft|fuzzy|with blurry edges|"
            "with smeared details"
        ),
    ),
    "resolution": (
        _words("high resolution|high definition|full resolution|highly detailed|fine grained|hd"),
        _words("low resolution|low definition|pixelated|upscaled|lacking detail|blocky"),
    ),
    "noise": (
        _words("noise-free|noiseless|clean|smooth|without noise|free of grain"),
        _words("noisy|grainy|speckled|full of noise|with sensor noise|with film grain"),
    ),
    "compression": (
        _words("uncompressed|lossless|artifact-free|without compression artifacts"),
        _words(
            "compressed|lossy|with jpeg artifacts|with compression artifacts|with block artifacts"
        ),
    ),
    "exposure": (
        _words("well exposed|well lit|evenly lit|with balanced exposure"),
        _words("badly exposed|badly lit|too dark or too bright|overexposed or underexposed"),
    ),
    "contrast": (
        _words("contrasty|vivid|with high contrast|with rich contrast|punchy"),
        _words("flat|hazy|with low contrast|washed out|dull|faded"),
    ),
    "colour": (
        _words(
            "with natural colors|colorful|with true colours|with smooth gradients|"
            "with accurate colours"
        ),
        _words(
            "with unnatural colors|discolored|with false colours|with color banding|"
            "with a colour cast"
        ),
    ),
    "artefacts": (
        _words("natural|realistic|authentic|intact|undistorted|without artifacts"),
        _words("unnatural|artificial|fake|broken|distorted|with artifacts"),
    ),
    "texture": (
        _words("textured|with fine texture|rich in detail|with natural texture"),
        _words("textureless|plastic|over-smoothed|without texture|waxy"),
    ),
}
"""Attribute to (words for the good end, words for the bad end)."""

ATTRIBUTES: Final = tuple(WORDS)

PAIR_ATTRIBUTES: Final = ("overall", "sharpness", "sharpness", "resolution", "noise")
"""The attribute that each of the paper's antonym pairs asks about."""

ATTRIBUTE_HARM: Final[dict[str, dict[str, float]]] = {
    "defocus_blur": {"sharpness": 1.0, "resolution": 0.75, "texture": 0.8},
    "gaussian_blur": {"sharpness": 1.0, "resolution": 0.75, "texture": 0.8},
    "motion_blur": {"sharpness": 1.0, "resolution": 0.6, "texture": 0.6, "artefacts": 0.3},
    "sensor_noise": {"noise": 1.0, "sharpness": 0.25, "resolution": 0.25, "artefacts": 0.3},
    "chroma_noise": {"noise": 1.0, "colour": 0.8, "artefacts": 0.4},
    "impulse_noise": {"noise": 1.0, "artefacts": 0.6, "colour": 0.3, "texture": 0.4},
    "jpeg": {
        "compression": 1.0,
        "resolution": 0.7,
        "artefacts": 0.8,
        "sharpness": 0.5,
        "noise": 0.4,
        "texture": 0.6,
        "colour": 0.4,
    },
    "webp": {
        "compression": 1.0,
        "resolution": 0.8,
        "artefacts": 0.6,
        "sharpness": 0.8,
        "texture": 0.9,
        "colour": 0.3,
    },
    "downscaling": {"resolution": 1.0, "sharpness": 0.6, "artefacts": 0.8, "noise": 0.3},
    "upscaling": {"resolution": 1.0, "sharpness": 0.9, "texture": 0.8},
    "exposure": {"exposure": 1.0, "contrast": 0.5, "colour": 0.5, "texture": 0.4},
    "low_contrast": {"contrast": 1.0, "colour": 0.6, "exposure": 0.4, "sharpness": 0.4},
    "saturation": {"colour": 1.0, "contrast": 0.3, "artefacts": 0.2},
    "banding": {"colour": 1.0, "artefacts": 0.7, "texture": 0.5, "noise": 0.3},
    "oversharpening": {"artefacts": 1.0, "noise": 0.7, "contrast": 0.2, "exposure": 0.3},
    "jitter": {"sharpness": 0.9, "resolution": 0.7, "artefacts": 0.6, "noise": 0.4, "texture": 0.5},
}
"""Harm of a distortion at its worst to each attribute, 0..1; "overall" always suffers."""

NAMES: Final[dict[str, Words]] = {
    "pristine": _words(
        "sharp, clean|high quality|pristine|detailed, noise-free|good|crisp and clear|professional"
    ),
    "defocus_blur": _words("out of focus|blurry|defocused|unfocused"),
    "gaussian_blur": _words("blurry|soft|blurred|fuzzy"),
    "motion_blur": _words("motion blurred|shaky|moving|blurry from camera shake"),
    "sensor_noise": _words("noisy|grainy|sensor noise|high iso"),
    "chroma_noise": _words("color noise|chroma noise|noisy colours|blotchy colour noise"),
    "impulse_noise": _words("salt and pepper noise|speckled with dead pixels|impulse noise"),
    "jpeg": _words("jpeg compressed|blocky jpeg|heavily compressed jpeg"),
    "webp": _words("webp compressed|smeared compressed|low bitrate"),
    "downscaling": _words("pixelated|aliased|jagged low resolution|blocky pixels"),
    "upscaling": _words("low resolution|upscaled|enlarged thumbnail|small upsampled"),
    "exposure": _words("badly exposed|wrongly lit|overexposed or underexposed"),
    "low_contrast": _words("low contrast|washed out|hazy|faded"),
    "saturation": _words("oversaturated or drained of color|garish or grey|wrong saturation"),
    "banding": _words("posterized|banded|color banding|few colors"),
    "oversharpening": _words("oversharpened|halos|over-processed|ringing edges"),
    "jitter": _words("jittered|behind frosted glass|shattered pixels"),
}
"""Words for a distortion in captions; "pristine" is none."""
