"""Captions and prompts for graded crops, drawn from the words of each distortion and attribute."""

from __future__ import annotations

from typing import Final

import numpy as np

from jobs.training.words import NAMES, WORDS

_SEVERITY: Final = (
    ("slightly", "a little", "mildly"),
    ("moderately", "noticeably", "rather"),
    ("very", "extremely", "badly"),
)
_NOUNS: Final = ("image", "photo", "picture", "photograph", "shot", "crop")
_FRAMES: Final = ("{}", "a {}", "an image: {}", "this is a {}", "a view of a {}", "the {}")
_PARAPHRASES: Final = 4
"""Prompt pairs about each attribute in a batch: with one, words such as "noiseless" came up so
seldom in 250 steps that a blurred photograph scored less for them than a noisy one."""


def prompt(word: str, rng: np.random.Generator) -> str:
    """Make a short prompt around a word or phrase: "sharp" gives "a sharp photo" and the like."""
    noun = str(rng.choice(_NOUNS)) if rng.random() < 0.5 else "image"
    joined = (
        f"{noun} {word}"
        if word.startswith(("with", "full", "free", "rich", "lacking"))
        else f"{word} {noun}"
    )
    return str(rng.choice(_FRAMES)).format(joined) if rng.random() < 0.5 else joined


def attribute_prompts(rng: np.random.Generator) -> list[tuple[str, str]]:
    """Paraphrase (good, bad), one of each attribute in the order of `ATTRIBUTES`, then again."""
    return [
        (prompt(str(rng.choice(good)), rng), prompt(str(rng.choice(bad)), rng))
        for good, bad in [*WORDS.values()] * _PARAPHRASES
    ]


def severity_bin(severity: float) -> int:
    """Bin a severity of 0 to 1: 0 for a slight, 1 for a clear and 2 for a heavy distortion."""
    return min(2, int(severity * 3.0))


def caption(names: tuple[str, ...], severity: float, rng: np.random.Generator) -> str:
    """Caption a picture after the named distortions (none: pristine) of a severity of 0 to 1."""
    if not names:
        return prompt(str(rng.choice(NAMES["pristine"])), rng)
    grade = str(rng.choice(_SEVERITY[severity_bin(severity)]))
    words = " and ".join(str(rng.choice(NAMES[name])) for name in names)
    text = prompt(f"{grade} {words}", rng)
    if rng.random() < 0.4:
        verdict = ("of good quality", "of fair quality", "of bad quality")[severity_bin(severity)]
        return f"{text} {verdict}"
    return text
