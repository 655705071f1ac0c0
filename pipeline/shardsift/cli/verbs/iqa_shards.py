"""`shardsift iqa-shards`: a downloaded set of images with opinions to shards for `evaluate`."""

from __future__ import annotations

from shardsift.cli.configs import IqaShardsConfig
from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE
from shardsift.config import did_you_mean
from shardsift.errors import ConfigError
from shardsift.evaluation.paper import PAPER_SETS
from shardsift.evaluation.set_shards import write_shards
from shardsift.evaluation.sets import IQA_SETS, read_set
from shardsift.storage.lease import held
from shardsift.text import beside, count


def run(config: IqaShardsConfig, console: PlainConsole) -> int:
    """Write the shards, and say how to evaluate them; return the exit code."""
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
        console.say("the paper has this set; --protocol paper evaluates as its authors do")
    flags = ["--higher-is-worse"] if IQA_SETS[name].higher_is_worse else []
    results = beside(output, "evaluation")
    console.suggest("evaluate", output, "--iqa-set", name, *flags, "--output", results)
    return DONE
