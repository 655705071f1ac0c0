"""MA-CLIP for a run: loaded by the driver, put to work by the actors."""

from __future__ import annotations

from dataclasses import dataclass

from shardsift.config import RunConfig
from shardsift.scoring.clip import ClipModel, load_clip
from shardsift.scoring.devices import use_cores
from shardsift.scoring.scorer import Scorer
from shardsift.scoring.warm_up import WarmUp, rehearse, warm_up


@dataclass(frozen=True, kw_only=True)
class MaClip:
    """A model, and what it gives for the pictures of the warm-up."""

    fingerprint: str
    model: ClipModel
    expected: WarmUp

    def scorer(self, config: RunConfig, device: str) -> Scorer:
        """Make a scorer on a device, and try it. Raises DeviceError."""
        use_cores(config.cpus_per_actor or 1)
        scorer = Scorer(
            config.scoring(),
            embeddings=bool(config.embeddings),
            device=device,
            batch_size=config.batch_size,
            model=self.model,
        )
        if device != "cpu":
            warm_up(scorer, self.expected)
        return scorer


def load_maclip(config: RunConfig) -> MaClip:
    """Load the model that a run scores by. Raises ModelError."""
    scoring = config.scoring()
    model = load_clip(scoring, config.asked())
    return MaClip(
        fingerprint=scoring.fingerprint(model.digest),
        model=model,
        expected=rehearse(scoring, model),
    )
