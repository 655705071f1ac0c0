"""What the MA-CLIP paper reports, to stand beside what is measured here.

SRCC with RN50, of arXiv 2511.09948. Taken from a public summary of the paper's table, since the
paper itself was out of reach when this was written; look there before citing them.
"""

from __future__ import annotations

PUBLISHED_SRCC = {
    "livec": 0.7428,
    "csiq": 0.7374,
    "tid2013": 0.5990,
    "kadid10k": 0.5251,
    "koniq10k": 0.7645,
    "spaq": 0.7725,
}
"""MA-CLIP on each set, by the names that the loaders have."""

PAPER_SETS = frozenset({*PUBLISHED_SRCC, "agiqa3k", "pipal"})
"""Sets that the paper uses; for some of them no figure is at hand here."""
