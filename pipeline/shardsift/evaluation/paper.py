"""How the paper's authors evaluate on each of their sets, and what they are said to have found.

The protocol is that of their published code, github.com/zhix000/MA-CLIP at ec84412: its
`preprocess`, and its lists of pictures. What they find is second-hand: SRCC with RN50, from a
public summary of the table of the paper (arXiv 2511.09948), which was out of reach itself. The mean
that it gives for CLIP-IQA is not the mean of its rows, so look into the paper before citing any.
"""

from __future__ import annotations

from dataclasses import dataclass

PUBLISHED_FROM = (
    "the paper's figures are second-hand, from a summary of its table whose means don't add up"
)

ONLY_PROTOCOL = "only_protocol"
"""Field of the `.json` of a sample that counts under one protocol alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperSet:
    """What the authors do with a set.

    Attributes:
        images: how many pictures their list has.
        side: in pixels, of the square that pictures are resized to; None if they stay as they are.
        is_scaled: whether opinions are brought to 0..1, the lowest to 0 and the highest to 1.
        srcc: what they are said to have found; None if that isn't known here.
    """

    images: int
    side: int | None = None
    is_scaled: bool = False
    srcc: float | None = None


PAPER_SETS: dict[str, PaperSet] = {
    "koniq10k": PaperSet(images=10_073, srcc=0.7645),
    "spaq": PaperSet(images=11_125, side=448, srcc=0.7725),
    "livec": PaperSet(images=1_169, srcc=0.7428),
    "kadid10k": PaperSet(images=10_125, srcc=0.5251),
    "tid2013": PaperSet(images=3_000, srcc=0.5990),
    "csiq": PaperSet(images=866, srcc=0.7374),
    "agiqa3k": PaperSet(images=2_982),
    "agiqa1k": PaperSet(images=1_080, side=224),
    "pipal": PaperSet(images=24_200, is_scaled=True),
}
"""By the names that the loaders have."""
