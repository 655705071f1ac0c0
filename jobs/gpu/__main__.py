"""How quick a GPU is, and whether it is kept busy: `python -m jobs.gpu`, from a checkout.

0 done   2 a mistake to mend
"""

from __future__ import annotations

from jobs.command import run_job
from jobs.gpu.gpu_config import GpuConfig
from jobs.gpu.run import run_gpu

if __name__ == "__main__":
    run_job("gpu", GpuConfig, run_gpu, "Measure the encoder alone, and from tar to Parquet.")
