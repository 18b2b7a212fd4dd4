"""Each library lives in an environment of its own, made when it is first needed: the project depends on none."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from rigs.bench.figures import NotMeasured
from rigs.bench.rivals.known import Rival
from rigs.demo.interrupts import held_back
from rigs.demo.worker import ROOT

CACHE = ROOT / ".cache" / "bench"


def home(rival: Rival) -> Path:
    """Another one for other versions."""
    return CACHE / re.sub(r"[^\w.=-]+", "-", "+".join(rival.requirements).replace("]", ""))


def is_installed(rival: Rival) -> bool:
    return (home(rival) / "installed").exists()


def program(rival: Rival, say: Callable[[str], None], *, install: bool = True) -> Path:
    """Its Python. Raises NotMeasured if it can't be had, or only by installing it and that is not wanted."""
    folder = home(rival)
    python = folder / "bin" / "python"
    if is_installed(rival):
        return python
    what = " ".join(rival.requirements)
    if not install:
        raise NotMeasured(f"{what} is not installed yet; without --quick it is")
    say(f"installing {what} into {folder.relative_to(ROOT)}")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *rival.requirements],
    ):
        _run(command, what)
    (folder / "installed").touch()
    return python


def _run(command: list[str], what: str) -> None:
    with held_back():
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    try:
        printed, _ = process.communicate()
    finally:
        process.kill()
    if process.returncode:
        last = (printed.strip().splitlines() or ["no reason"])[-1]
        raise NotMeasured(f"{what} can't be installed: {last}")
