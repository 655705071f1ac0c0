"""Settings of `ask`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shardsift.config.base import Given
from shardsift.config.measures import AttributesConfig
from shardsift.config.run import RayConfig


class AskConfig(AttributesConfig, RayConfig):
    """Settings of `ask`: what to ask, of which annotations, and where to write the answers."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(
        description="the output of a `score` run with `--embeddings maclip`: a folder or URL"
    )
    output: str | None = Field(default=None, description="folder or URL for the answers")
    model: str | None = Field(
        default=None, description="the model of that run, if its config lies elsewhere by now"
    )
    pretrained: str | None = Field(
        default=None, description="the weights of that run, if they lie elsewhere by now"
    )
    cpus_per_actor: float = Field(default=1.0, gt=0, description="CPU cores of an actor")
    overwrite: bool = Field(default=False, description="replace what an earlier `ask` wrote")
