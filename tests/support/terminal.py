"""Somebody at a terminal, who runs the command `events` and sees what it writes."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

from support.template import Forked

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Knows the ledger's URL. What is shown comes without colours."""

    def __init__(self, url: str, columns: int = 80, **environment: str) -> None:
        self._columns = columns
        self._environment = {
            "PATH": os.environ["PATH"], "EVENTS_DATABASE_URL": url, "TERM": "xterm-256color", "COLUMNS": str(columns),
            "LANG": "C.UTF-8",
        } | environment  # fmt: skip

    def runs(self, *arguments: object, types: str = "") -> subprocess.CompletedProcess[str]:
        """The command to its end; `types`: what is typed meanwhile. Its standard error stands among its output."""
        command = ["events", *map(str, arguments)]
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, self._columns, 0, 0))
        try:
            with os.fdopen(theirs, "r+b", buffering=0) as terminal:
                run = Forked(command, self._environment, Path.cwd(), (terminal, terminal, terminal))
            os.write(ours, types.encode())
            written = b""
            with suppress(OSError):  # nobody has it open any more
                while more := os.read(ours, 65536):
                    written += more
        finally:
            os.close(ours)
        text = _COLOURS.sub("", written.decode("utf-8", "backslashreplace")).replace("\r\n", "\n")
        return subprocess.CompletedProcess(command, run.wait(60), text, "")

    def sees(self, *arguments: object, types: str = "") -> str:
        done = self.runs(*arguments, types=types)
        assert done.returncode == 0, done.stdout
        return done.stdout
