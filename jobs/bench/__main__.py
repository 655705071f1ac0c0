"""Measurements on this machine, from a checkout: `python -m jobs.bench MEASUREMENT`.

speed       side by side with the published code and plain loops
feed        an actor whose model costs nothing, of one commit or of two in turn
gpu         the encoder alone, and from tar to Parquet
additions   attributes, embeddings and hashes, with and without in turn
scale       the real coordinator with simulated actors, on virtual time
plans       crop plans against `paper`
exactness   how far scores depart from those of one process in float32
ask         rows a second of new questions
reshard     new tars beside `cp`

0 done   2 a mistake to mend
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from jobs.command import run_job
from shardsift.engine.environment import prepare_ray

_CONFIGURED = {
    "speed": "SpeedConfig",
    "feed": "FeedConfig",
    "gpu": "GpuConfig",
    "additions": "AdditionsConfig",
    "scale": "ScaleConfig",
}
_OTHERS = ("plans", "exactness", "ask", "reshard")


def main() -> None:
    """Run the measurement that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in _CONFIGURED and name not in _OTHERS:
        sys.stderr.write((__doc__ or "") + "\n")
        sys.exit(0 if name in ("", "-h", "--help") else 2)
    del sys.argv[1]
    prepare_ray()
    module = import_module(f"jobs.bench.{name}")
    if name in _OTHERS:
        typer.run(module.measure)
    else:
        run_job(name, getattr(module, _CONFIGURED[name]), module.measure, module.__doc__ or "")


if __name__ == "__main__":
    main()
