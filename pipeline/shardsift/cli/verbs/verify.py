"""`shardsift verify`: proof that an output is complete."""

from __future__ import annotations

import shlex

from rich.console import Console
from rich.table import Table

from shardsift.annotations.verify import Claim, Verification, claim_output, repair, verify
from shardsift.cli.configs import VerifyConfig
from shardsift.cli.console import PlainConsole, failure, tracking
from shardsift.cli.exit_codes import DONE, FAILED


def run(config: VerifyConfig, console: Console) -> int:
    """Check an output and tell what was found; exit code 0, or 1 if something is wrong.

    What was found goes to stdout, progress to `console`.
    """
    results = PlainConsole()
    with console.status("looking up the shards"):
        claim = claim_output(config.annotations, config.shards)
    with tracking(console) as track:
        found = verify(claim, recount=config.recount, track=track)
    results.print(_table(claim, found, recount=config.recount))
    for problem in found.problems:
        told = failure(problem.place, f"{problem.trouble}; {problem.remedy}")
        results.print(told, soft_wrap=True)
    if not found.problems:
        given_up = f" but for {len(found.failed):,} shards that were given up"
        results.print(f"complete and consistent{given_up if found.failed else ''}")
        return DONE
    if config.repair:
        deleted = repair(claim, found)
        results.print(
            f"repaired: {len(deleted):,} files deleted, {found.to_rescore:,} shards to score again"
        )
    if _is_to_score(found):
        results.print(f"to go on, with the settings of that run: {_command(claim)}", soft_wrap=True)
    return FAILED


def _table(claim: Claim, found: Verification, *, recount: bool) -> Table:
    table = Table(title=claim.folder.url, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    counts = {
        "shards planned": found.shards,
        "with a sound annotation": found.annotated,
        "given up, see _failed": len(found.failed),
        "rows checked": found.rows,
        "tars counted again": found.recounted if recount else None,
        "problems": len(found.problems),
    }
    for name, number in counts.items():
        table.add_row(name, "not asked for" if number is None else f"{number:,}")
    return table


def _is_to_score(found: Verification) -> bool:
    return any("score" in problem.remedy for problem in found.problems)


def _command(claim: Claim) -> str:
    inputs = claim.plan.patterns
    return shlex.join(["shardsift", "score", *inputs, "--output", claim.folder.url])
