"""`events doctor`."""

from dataclasses import asdict

import typer

from events.cli.output import AsJson, hint, print_json, print_table
from events.current_pipeline import get_pipeline
from events.text import plural

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Check settings, database, broker and workers, and say how to cure each fault. Changes nothing.

    The exit code is 1 if the command finds an error, else 0.

    Example: events doctor --json
    """
    from events.diagnosis import Level, examine  # here: it loads kombu, which other commands don't need

    findings = examine(get_pipeline())
    errors = sum(finding.level is Level.ERROR for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if as_json:
        print_json({"errors": errors, "warnings": warnings, "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [[finding.level, finding.check, finding.found, finding.cure] for finding in findings]
        title = f"{plural(errors, 'error')}, {plural(warnings, 'warning')}"
        columns = ["level", "check", "found", "cure"]
        print_table(title, columns, rows, texts=["found", "cure"], styles=_COLOURS)
        if not errors and not warnings:
            hint("All checks passed.")
    if errors:
        raise typer.Exit(1)
