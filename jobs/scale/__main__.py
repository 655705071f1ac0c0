"""What a corpus costs on many GPUs, simulated: `python -m jobs.scale`, from a checkout.

0 done   2 a mistake to mend
"""

from __future__ import annotations

from jobs.command import run_job
from jobs.scale.run import run_scale
from jobs.scale.scale_config import ScaleConfig

if __name__ == "__main__":
    summary = "Let the real coordinator drive simulated actors, on virtual time."
    run_job("scale", ScaleConfig, run_scale, summary)
