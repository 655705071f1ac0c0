"""`shardsift verify`: proof that an output is complete, whichever verb has written it."""

from __future__ import annotations

from dataclasses import asdict

from shardsift.cli.console import DONE, FAILED, PlainConsole, failure
from shardsift.cli.tables import Sheet
from shardsift.config.verbs import VerifyConfig
from shardsift.errors import ConfigError
from shardsift.filter.output import RECORD as FILTER_RECORD
from shardsift.outputs.folder import RunFolder
from shardsift.outputs.records import COMPACTING
from shardsift.reshard.folder import RECORD as RESHARD_RECORD
from shardsift.reshard.folder import ReshardFolder
from shardsift.shards.plan import ShardPlan
from shardsift.text import command, count
from shardsift.threads import Track
from shardsift.verify.findings import Findings, repair
from shardsift.verify.keep_lists import verify_filtered
from shardsift.verify.outputs import claim_output, verify, verify_compacted
from shardsift.verify.reshard import verify_reshard

_MOST_UNCHECKED = 5


def run(config: VerifyConfig, console: PlainConsole) -> int:
    """Check an output and print what was found; exit code 0, or 1 if something is wrong.

    What was found goes to stdout, progress to `console`.
    """
    results = PlainConsole()
    folder = RunFolder(config.output)
    if folder.is_held:
        console.say(f"{folder.url}: a command writes here now, or was killed")
    found, again = _verify(config, folder, console.track)
    if config.as_json:
        deleted = repair(folder, found.problems) if config.repair and found.problems else []
        told = {"counts": found.counts, "problems": list(map(asdict, found.problems))}
        rest = {"unchecked": found.unchecked, "deleted": deleted}
        results.document({"place": folder.url, **told, **rest})
        return FAILED if found.problems else DONE
    _print(config, folder, found, results)
    if again and found.problems:
        results.print(f"to go on, with the settings of that run: {again}", soft_wrap=True)
    return FAILED if found.problems else DONE


def _verify(config: VerifyConfig, folder: RunFolder, track: Track) -> tuple[Findings, str]:
    """Verify whatever the folder is; also return the command that makes again what is wrong."""
    if FILTER_RECORD in folder.files:
        return verify_filtered(folder, track), ""
    if RESHARD_RECORD in folder.files:
        if len(config.shards) > 1:
            raise ConfigError("the sources of a reshard lie in one folder: give one --shards")
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


def _print(config: VerifyConfig, folder: RunFolder, found: Findings, results: PlainConsole) -> None:
    rows = [
        (name, f"{n:,}" if config.recount or name != "tars read again" else "not asked for")
        for name, n in found.counts.items()
    ]
    rows.append(("problems", f"{len(found.problems):,}"))
    results.tabulate(Sheet(title=folder.url, rows=rows))
    for problem in found.problems:
        told = failure(problem.place, f"{problem.trouble}; {problem.remedy}")
        results.print(told, soft_wrap=True)
    for line in found.unchecked[:_MOST_UNCHECKED]:
        results.print(line, soft_wrap=True)
    if (more := len(found.unchecked) - _MOST_UNCHECKED) > 0:
        results.print(f"and {more:,} more that were not compared")
    if not found.problems and found.unchecked:
        results.print("consistent, as far as it could be compared")
    elif not found.problems:
        given_up = f" but for {count(found.given_up, 'shard')}, given up when scored"
        results.print(f"complete and consistent{given_up if found.given_up else ''}")
    elif config.repair:
        deleted = repair(folder, found.problems)
        again = sum(problem.rescores for problem in found.problems)
        results.print(
            f"repaired: {count(len(deleted), 'file')} deleted, {again:,} to be made again"
        )
