"""Speed on this machine: `python -m jobs.bench`, from a checkout.

0 done   2 a mistake to mend
"""

from __future__ import annotations

from jobs.bench.bench_config import BenchConfig
from jobs.command import run_job
from shardsift.cli.console import PlainConsole
from shardsift.engine.environment import prepare_ray


def bench(config: BenchConfig, console: PlainConsole) -> None:
    """Measure, once torch is loaded."""
    prepare_ray()
    with console.status("loading torch"):
        from jobs.bench.run import run_bench

    run_bench(config, console)


if __name__ == "__main__":
    summary = "Measure speed side by side with the published code and plain loops."
    run_job("bench", BenchConfig, bench, summary)
