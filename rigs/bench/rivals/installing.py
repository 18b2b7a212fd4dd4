"""Each library lives in an environment of its own, made when it is first needed: the project depends on none."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
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
        [interpreter(rival), "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *rival.requirements],
    ):
        _run(command, what)
    (folder / "installed").touch()
    return python


def interpreter(rival: Rival) -> str:
    """A Python that is new enough for it: ours, or one that is found on the PATH or beside ours."""
    if sys.version_info[:2] >= rival.python:
        return sys.executable
    for candidate in _newer(rival):
        # A version manager has a program for each version that it knows, and some of them only say what is missing.
        if not subprocess.run([candidate, "-c", ""], capture_output=True).returncode:
            return candidate
    needed = ".".join(map(str, rival.python))
    raise NotMeasured(f"{rival.name} needs Python {needed} or newer, and there is none on the PATH")


def _newer(rival: Rival) -> Iterator[str]:
    major, least = rival.python
    for minor in range(least, least + 5):
        name = f"python{major}.{minor}"
        if found := shutil.which(name):
            yield found
        yield from map(str, Path(sys.base_prefix).parent.glob(f"*/bin/{name}"))


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
