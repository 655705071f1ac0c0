"""What the measurement of feeding may be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pydantic import Field

from shardsift.config import Config, CropPlan


class FeedConfig(Config):
    """Which commits, on what, and for how long."""

    against: str | None = Field(
        default=None, description="a commit to measure beside this checkout, lap by lap in turn"
    )
    output: Path = Field(default=Path("bench"), description="folder for `feed.json`")
    rounds: int = Field(default=3, ge=1, description="laps of each; the table has medians")
    seconds: float = Field(default=3.0, gt=0, description="of a lap")
    workers: int = Field(default=2, ge=1, description="how many decode at a time")
    sizes: tuple[str, ...] = Field(
        default=("128x96", "512x384", "1024x768"), description="of the pictures; may be repeated"
    )
    plans: tuple[CropPlan, ...] = Field(
        default=get_args(CropPlan),
        description="crop plans; may be repeated",
    )
