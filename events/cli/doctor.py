"""`events doctor`."""

from dataclasses import asdict

import typer

from events.cli.output import AsJson, hint, print_json, print_table
from events.pipeline import get_pipeline

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Check settings, database, broker and workers, and name the cure of whatever is wrong.

    Exit code 0 if there is no error, 1 if there is. Changes nothing.

    Example: events doctor --json
    """
    from events.diagnosis import Level, examine  # here: it loads kombu, which other commands don't need

    findings = examine(get_pipeline())
    errors = sum(finding.level is Level.ERROR for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if as_json:
        print_json({"errors": errors, "warnings": warnings, "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [[one.level, one.check, one.found, one.cure] for one in findings]
        title, columns = f"{errors} errors, {warnings} warnings", ["level", "check", "found", "cure"]
        print_table(title, columns, rows, texts=["found", "cure"], styles=_COLOURS)
        if not errors and not warnings:
            hint("Nothing to mend.")
    if errors:
        raise typer.Exit(1)
