"""`shardsift doctor`: checks before a run."""

from __future__ import annotations

from dataclasses import asdict

from rich.text import Text

from shardsift.cli.console import DONE, FAILED, PlainConsole
from shardsift.config.verb_settings import DoctorConfig
from shardsift.redaction import redact
from shardsift.runs.checks import Check, examine


def run(config: DoctorConfig, console: PlainConsole) -> int:
    """Print each result as soon as it is known; return exit code 0, or 1 if there is a problem."""
    results = PlainConsole()
    findings, upcoming = list[Check](), iter(examine(config))
    while True:
        with console.busy("looking"):
            finding = next(upcoming, None)
        if finding is None:
            break
        findings.append(finding)
        if not config.as_json:
            sign, style = ("!", "yellow") if finding.advice else ("✓", "green")
            line = Text.assemble((sign, style), f" {redact(finding.what)}: {redact(finding.told)}")
            if finding.advice:
                line.append(f"\n  {redact(finding.advice)}", style)
            results.print(line, soft_wrap=not results.is_terminal)
    if config.as_json:
        results.document([asdict(finding) for finding in findings])
    return FAILED if any(finding.advice for finding in findings) else DONE
