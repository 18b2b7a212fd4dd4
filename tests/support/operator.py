"""Somebody at a shell, who runs the command `events`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

from support.template import Forked


def events(
    *arguments: object, environment: dict[str, str], given: str = "", folder: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """`python -m events ARGUMENTS`, to its end."""
    with TemporaryFile("w+") as reads, TemporaryFile("w+") as writes, TemporaryFile("w+") as complains:
        reads.write(given)
        reads.seek(0)
        command = ["events", *map(str, arguments)]
        run = Forked(command, environment, folder or Path.cwd(), (reads, writes, complains))
        code = run.wait(120)
        for file in (writes, complains):
            file.seek(0)
        return subprocess.CompletedProcess(command, code, writes.read(), complains.read())


class Operator:
    """Knows the ledger's URL, and whatever else is in the environment."""

    def __init__(self, url: str, **environment: str) -> None:
        wide = {"PATH": os.environ["PATH"], "EVENTS_DATABASE_URL": url, "COLUMNS": "200"}
        self._environment = wide | environment

    def runs(self, *arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
        return events(*arguments, environment=self._environment, given=given)

    def begins(self, *arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "events", *map(str, arguments)], env=self._environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

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
