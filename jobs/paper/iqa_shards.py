"""Turn a set of images with opinions into shards: `python -m jobs.paper.iqa_shards NAME FOLDER`."""

from __future__ import annotations

from jobs.command import run_job
from jobs.paper.config import IqaShardsConfig
from jobs.paper.protocol import PAPER_SETS
from jobs.paper.sets import IQA_SETS, read_set, write_shards
from shardsift.cli.console import PlainConsole
from shardsift.config import did_you_mean
from shardsift.errors import ConfigError
from shardsift.storage.lease import held
from shardsift.text import beside, count


def run(config: IqaShardsConfig, console: PlainConsole) -> None:
    """Write the shards, and print how to evaluate them. Raises UserError."""
    name, output = config.name, config.output
    if name not in IQA_SETS:
        hint = did_you_mean(name, IQA_SETS, f"known are {', '.join(IQA_SETS)}")
        raise ConfigError(f"{name}: no such set; {hint}")
    with held(output) as lease:
        opinions = read_set(name, config.folder)
        lease.guard()
        written = write_shards(opinions, output, name, config.images_per_shard)
    images, shards = count(written.samples, "image"), count(written.shards, "shard")
    console.say(f"{images} with opinions in {shards}: {output}")
    if written.without_image:
        console.say(f"the download lacks {written.without_image:,} of them")
    if name in PAPER_SETS:
        console.say("the paper has this set; jobs.paper.experiment evaluates as its authors do")
    flags = ["--higher-is-worse"] if IQA_SETS[name].higher_is_worse else []
    console.suggest("evaluate", output, *flags, "--output", beside(output, "evaluation"))


if __name__ == "__main__":
    run_job("iqa_shards", IqaShardsConfig, run, "Turn a set of images with opinions into shards.")
