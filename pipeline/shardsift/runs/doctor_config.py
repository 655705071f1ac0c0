"""What `doctor` may be asked for. Light: `--help` reads it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shardsift.config import Given, ModelConfig, TableConfig


class DoctorConfig(ModelConfig, TableConfig):
    """What a run is going to use."""

    places: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        default=(),
        description="shards that it is to read, and folders that it is to write into; any fsspec "
        "URL. Of shards the first is read for a moment; in a folder without any a file is written "
        "and removed",
    )
    address: str | None = Field(
        default=None,
        description="the Ray cluster to look at, such as `auto`; by default one on this machine is "
        "started",
    )
    seconds: float = Field(
        default=2.5, gt=0, description="seconds for which each stage's speed is measured; four do"
    )
