"""Somebody at a shell, who runs the command `events`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable


class Operator:
    """Knows the ledger's URL, and whatever else is in the environment."""

    def __init__(self, url: str, **environment: str) -> None:
        wide = {"PATH": os.environ["PATH"], "EVENTS_DATABASE_URL": url, "COLUMNS": "200"}
        self._environment = wide | environment

    def runs(self, *arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(arguments), env=self._environment, input=given, capture_output=True, text=True
        )

    def begins(self, *arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self._command(arguments), env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @staticmethod
    def _command(arguments: Iterable[object]) -> list[str]:
        return [sys.executable, "-m", "events", *map(str, arguments)]

    def sees(self, *arguments: object, given: str = "") -> str:
        done = self.runs(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def gets(self, *arguments: object) -> object:
        return json.loads(self.sees(*arguments, "--json"))

    def is_refused(self, code: int, *arguments: object, given: str = "") -> str:
        """What it says, on standard error."""
        done = self.runs(*arguments, given=given)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr
