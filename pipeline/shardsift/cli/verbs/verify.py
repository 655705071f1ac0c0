"""`shardsift verify`: proof that an output is complete, whichever verb has written it."""

from __future__ import annotations

from dataclasses import asdict

from shardsift.cli.console import DONE, FAILED, PlainConsole, failure
from shardsift.cli.tables import Sheet
from shardsift.config.verb_settings import VerifyConfig
from shardsift.text import count
from shardsift.verification.any_output import Verified, verify_output

_MOST_UNCHECKED = 5


def run(config: VerifyConfig, console: PlainConsole) -> int:
    """Check an output and print problems; return exit code 0, or 1 if there are problems.

    Problems go to stdout, progress to `console`.
    """
    results = PlainConsole()
    found = verify_output(config, console)
    if config.as_json:
        told = {"counts": found.counts, "problems": list(map(asdict, found.problems))}
        rest = {"unchecked": found.unchecked, "deleted": found.deleted}
        results.document({"place": found.url, **told, **rest})
    else:
        _print(config, found, results)
        if found.again:
            results.print(
                f"to resume, with the settings of that run: {found.again}", soft_wrap=True
            )
    return DONE if found.is_sound else FAILED


def _print(config: VerifyConfig, found: Verified, results: PlainConsole) -> None:
    rows = [
        (name, f"{n:,}" if config.recount or name != "shards read again" else "not asked for")
        for name, n in found.counts.items()
    ]
    rows.append(("problems", f"{len(found.problems):,}"))
    results.tabulate(Sheet(title=found.url, rows=rows))
    for problem in found.problems:
        told = failure(problem.place, f"{problem.trouble}; {problem.remedy}")
        results.print(told, soft_wrap=True)
    for line in found.unchecked[:_MOST_UNCHECKED]:
        results.print(line, soft_wrap=True)
    if (more := len(found.unchecked) - _MOST_UNCHECKED) > 0:
        results.print(f"and {more:,} more that were not checked")
    if not found.problems and found.unchecked:
        results.print("consistent, as far as it could be checked")
    elif not found.problems:
        given_up = f" except {count(found.given_up, 'shard')} that failed when scored"
        results.print(f"complete and consistent{given_up if found.given_up else ''}")
    elif config.repair:
        again = sum(problem.rescores for problem in found.problems)
        results.print(
            f"repaired: {count(len(found.deleted), 'file')} deleted, {again:,} to make again"
        )
