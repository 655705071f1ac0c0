"""`shardsift iqa-shards`: a downloaded set of images with opinions to shards for `evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from jobs.exit_codes import DONE
from pipeline.config import nearest
from pipeline.errors import ConfigError
from pipeline.iqasets.loaders import IQA_SETS
from pipeline.iqasets.shards import write_shards


def run_iqa_shards(
    name: str, folder: Path, output: str, images_per_shard: int, console: Console
) -> int:
    """Write the shards, and say how to evaluate them; the exit code."""
    if name not in IQA_SETS:
        guess = nearest(name, set(IQA_SETS))
        hint = f"did you mean {guess}?" if guess else f"known are {', '.join(IQA_SETS)}"
        raise ConfigError(f"{name}: no such set; {hint}")
    iqa_set = IQA_SETS[name]
    images, shards = write_shards(iqa_set.read(folder), output, name, images_per_shard)
    console.print(f"{images:,} images with opinions in {shards:,} shards: {output}")
    flag = " --higher-is-worse" if iqa_set.higher_is_worse else ""
    console.print(f"next: shardsift evaluate {output} --iqa-set {name}{flag} --output DIR")
    return DONE


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["iqa-shards", *sys.argv[1:]]))
