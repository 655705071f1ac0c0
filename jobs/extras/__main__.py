"""What attributes, embeddings and hashes cost: `python -m jobs.extras`, from a checkout.

0 done   2 a mistake to mend
"""

from __future__ import annotations

from jobs.command import run_job
from jobs.extras.extras_config import CostConfig
from jobs.extras.run import run_extras

if __name__ == "__main__":
    run_job("extras", CostConfig, run_extras, "Measure images/s with and without, in turn.")
