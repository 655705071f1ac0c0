"""`shardsift verify`: proof that an output is complete, whichever verb has written it."""

from __future__ import annotations

from dataclasses import asdict

from shardsift.cli.configs import VerifyConfig
from shardsift.cli.console import PlainConsole, failure
from shardsift.cli.exit_codes import DONE, FAILED
from shardsift.cli.tables import Sheet
from shardsift.commands import command
from shardsift.errors import ConfigError
from shardsift.filter.output import RECORD as FILTER_RECORD
from shardsift.outputs.folder import RunFolder
from shardsift.outputs.records import COMPACTING
from shardsift.progress import count
from shardsift.reshard.folder import RECORD as RESHARD_RECORD
from shardsift.reshard.folder import ReshardFolder
from shardsift.shards.plan import ShardPlan
from shardsift.threads import Track
from shardsift.verify.findings import Findings, repair
from shardsift.verify.keep_lists import verify_filtered
from shardsift.verify.outputs import claim_output, verify, verify_compacted
from shardsift.verify.reshard import verify_reshard

_MOST_UNCHECKED = 5


def run(config: VerifyConfig, console: PlainConsole) -> int:
    """Check an output and tell what was found; exit code 0, or 1 if something is wrong.

    What was found goes to stdout, progress to `console`.
    """
    results = PlainConsole()
    folder = RunFolder(config.output)
    if folder.is_held:
        console.say(f"{folder.url}: a command writes here now, or was killed")
    if FILTER_RECORD in folder.files:
        return _tell(config, folder, verify_filtered(folder, console.track), results)
    if RESHARD_RECORD in folder.files:
        return _tell(config, folder, _verify_reshard(config, console.track), results)
    if COMPACTING in folder.files:
        return _tell(config, folder, verify_compacted(folder), results)
    return _verify_run(config, console.track, results)


def _verify_reshard(config: VerifyConfig, track: Track) -> Findings:
    if len(config.shards) > 1:
        raise ConfigError("the sources of a reshard lie in one folder: give one --shards")
    sources = next(iter(config.shards), None)
    return verify_reshard(ReshardFolder(config.output), sources, track)


def _verify_run(config: VerifyConfig, track: Track, results: PlainConsole) -> int:
    claim = claim_output(config.output, config.shards)
    found = verify(claim, recount=config.recount, track=track)
    code = _tell(config, claim.folder, found, results)
    if not config.as_json and any(claim.verb in problem.remedy for problem in found.problems):
        inputs = claim.plan.patterns if isinstance(claim.plan, ShardPlan) else claim.plan.inputs
        again = command(claim.verb, *inputs, "--output", claim.folder.url)
        results.print(f"to go on, with the settings of that run: {again}", soft_wrap=True)
    return code


def _tell(config: VerifyConfig, folder: RunFolder, found: Findings, results: PlainConsole) -> int:
    if config.as_json:
        return _print_json(config, folder, found, results)
    results.tabulate(_sheet(config, folder, found))
    for problem in found.problems:
        told = failure(problem.place, f"{problem.trouble}; {problem.remedy}")
        results.print(told, soft_wrap=True)
    for line in found.unchecked[:_MOST_UNCHECKED]:
        results.print(line, soft_wrap=True)
    if len(found.unchecked) > _MOST_UNCHECKED:
        more = len(found.unchecked) - _MOST_UNCHECKED
        results.print(f"and {more:,} more that were not compared")
    if not found.problems:
        results.print(_clean_bill(found))
        return DONE
    if config.repair:
        deleted = repair(folder, found.problems)
        again = sum(problem.rescores for problem in found.problems)
        results.print(
            f"repaired: {count(len(deleted), 'file')} deleted, {again:,} to be made again"
        )
    return FAILED


def _print_json(
    config: VerifyConfig, folder: RunFolder, found: Findings, results: PlainConsole
) -> int:
    deleted = repair(folder, found.problems) if config.repair and found.problems else []
    results.document(
        {
            "place": folder.url,
            "counts": found.counts,
            "problems": [asdict(problem) for problem in found.problems],
            "unchecked": found.unchecked,
            "deleted": deleted,
        }
    )
    return FAILED if found.problems else DONE


def _clean_bill(found: Findings) -> str:
    if found.unchecked:
        return "consistent, as far as it could be compared"
    given_up = f" but for {count(found.given_up, 'shard')}, given up when scored"
    return f"complete and consistent{given_up if found.given_up else ''}"


def _sheet(config: VerifyConfig, folder: RunFolder, found: Findings) -> Sheet:
    rows: list[tuple[str, str]] = []
    for name, number in found.counts.items():
        is_asked_for = config.recount or name != "tars read again"
        rows.append((name, f"{number:,}" if is_asked_for else "not asked for"))
    return Sheet(title=folder.url, rows=[*rows, ("problems", f"{len(found.problems):,}")])
