"""What the benchmark may be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from shardsift.config import Config


class BenchConfig(Config):
    """What to race, how long, and on what."""

    output: Path = Field(default=Path("bench"), description="folder for the figures and the chart")
    quick: bool = Field(
        default=False,
        description="less of everything, and the engine without large shards: some four minutes on "
        "two cores, and rougher figures",
    )
    images: int | None = Field(
        default=None, ge=1, description="images in the shard that is raced; 24, or 6 if quick"
    )
    rounds: int | None = Field(
        default=None,
        ge=1,
        description="laps of each contestant, of which the table has medians; 3, or 2 if quick",
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="`cpu` or `cuda`")
    ray: bool = Field(default=True, description="time the engine, which needs Ray, too")
    only: tuple[str, ...] = Field(
        default=(), description="contestants with this word in their name; may be repeated"
    )

    def images_raced(self) -> int:
        """Return the number of images in the shard that is raced."""
        return self.images or (6 if self.quick else 24)

    def laps(self) -> int:
        """Return the number of laps of each contestant."""
        return self.rounds or (2 if self.quick else 3)
