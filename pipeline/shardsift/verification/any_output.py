"""Verification of an output, whichever verb has written it."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardsift.config.verb_settings import VerifyConfig
from shardsift.errors import ConfigError
from shardsift.filtering.kept_folder import RECORD as FILTER_RECORD
from shardsift.outputs.json_records import COMPACTING
from shardsift.outputs.run_folder import RunFolder
from shardsift.progress import Display
from shardsift.resharding.reshard_folder import RECORD as RESHARD_RECORD
from shardsift.resharding.reshard_folder import ReshardFolder
from shardsift.shards.plan import ShardPlan
from shardsift.text import command
from shardsift.threads import Track
from shardsift.verification.findings import Findings, repair
from shardsift.verification.keep_lists import verify_filtered
from shardsift.verification.new_shards import verify_reshard
from shardsift.verification.outputs import claim_output, verify, verify_compacted


@dataclass(kw_only=True, slots=True)
class Verified(Findings):
    """Result of `verify`.

    Attributes:
        url: the output that was verified.
        again: the command that makes damaged files again; empty if there is none.
        deleted: names of files that were deleted, with `repair`.
    """

    url: str
    again: str = ""
    deleted: list[str] = field(default_factory=list[str])

    @property
    def is_sound(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems


def verify_output(config: VerifyConfig, display: Display) -> Verified:
    """Verify an output, and with `repair`, repair it.

    Raises:
        UserError: if there is no output, or it can't be read.
    """
    folder = RunFolder(config.output)
    if folder.is_held:
        display.say(f"{folder.url}: a command writes here now, or was killed")
    found, again = _verify(config, folder, display.track)
    deleted = repair(folder, found.problems) if config.repair and found.problems else []
    return Verified(
        url=folder.url,
        counts=found.counts,
        given_up=found.given_up,
        problems=found.problems,
        unchecked=found.unchecked,
        again=again if found.problems else "",
        deleted=deleted,
    )


def _verify(config: VerifyConfig, folder: RunFolder, track: Track) -> tuple[Findings, str]:
    """Verify an output; also return the command that makes damaged files again."""
    if FILTER_RECORD in folder.files:
        return verify_filtered(folder, track), ""
    if RESHARD_RECORD in folder.files:
        if len(config.shards) > 1:
            raise ConfigError("the sources of a reshard are in one folder: give one --shards")
        sources = next(iter(config.shards), None)
        return verify_reshard(ReshardFolder(config.output), sources, track), ""
    if COMPACTING in folder.files:
        return verify_compacted(folder), ""
    claim = claim_output(config.output, config.shards)
    found = verify(claim, recount=config.recount, track=track)
    if not any(claim.verb in problem.remedy for problem in found.problems):
        return found, ""
    inputs = claim.plan.patterns if isinstance(claim.plan, ShardPlan) else claim.plan.inputs
    return found, command(claim.verb, *inputs, "--output", folder.url)
