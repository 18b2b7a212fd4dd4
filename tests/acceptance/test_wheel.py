"""The wheel holds `events` alone; whoever installs it, and pastes the quickstart, sees its handler's effect."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from support.pasting import blocks, users_environment
from support.waiting import eventually

ROOT = Path(__file__).parent.parent.parent
GUIDE = ROOT / "examples" / "quickstart" / "README.md"
PATIENCE = 600  # seconds: it makes an environment, and starts four programs one after the other
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

pytestmark = pytest.mark.timeout(2 * PATIENCE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        source.mkdir(exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    for name in ("events", "handlers", "examples", "rigs", "scripts", "tests"):
        for file in (ROOT / name).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                target = source / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, source],
        check=True, capture_output=True, env=os.environ | {"PIP_CONSTRAINT": str(source / "constraints.txt")},
    )  # fmt: skip
    return next(folder.glob("*.whl"))


class User:
    """Somebody with a terminal in a folder of his own.

    Args:
        wheel: what his pip takes for the package; all else has the versions that were tested.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self.log = folder.with_suffix(".log")
        constraints = folder.with_suffix(".txt")
        tested = (ROOT / "constraints.txt").read_text()
        constraints.write_text(f"{tested}\ncelery-domain-events @ {wheel.as_uri()}\n")
        python = Path(sys.executable).parent  # a `python3` that is new enough; it's behind what the user installs
        self._environment = users_environment(folder / ".venv" / "bin", python) | {"PIP_CONSTRAINT": str(constraints)}

    def pastes(self, block: str) -> str:
        """Until it is done; what it printed."""
        done = self._run(["bash", "-ec", block])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def runs(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return self._run(list(command))

    def pastes_and_watches(self, block: str) -> "subprocess.Popen[str]":
        """What goes on until Ctrl-C; it prints into `log`."""
        with self.log.open("w") as log:
            return subprocess.Popen(["bash", "-ec", block], stdout=log, stderr=log, text=True, start_new_session=True,
                                    **self._place())  # fmt: skip

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, capture_output=True, text=True, check=False, **self._place())

    def _place(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": self._environment, "stdin": subprocess.DEVNULL}


@pytest.fixture(scope="module")
def user(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> User:
    """Who pasted what the quickstart begins with, in an empty folder, and saved README's first block as it says."""
    folder = tmp_path_factory.mktemp("user") / "quickstart"
    folder.mkdir()
    user = User(folder, wheel)
    user.pastes(blocks(GUIDE, "sh")[0])
    (folder / "handlers.py").write_text(blocks(ROOT / "README.md", "python")[0])
    return user


def test_the_wheel_holds_events_alone(wheel: Path) -> None:
    assert wheel.name.startswith(f"celery_domain_events-{VERSION}-")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"events"}
    assert "events/store/migrations/versions/0001_ledger.py" in names
    data = {"monitoring/alerts.yml", "monitoring/grafana.json", "contract/page.css", "contract/page.js", "py.typed",
            "flower/templates/ledger-base.html"}  # fmt: skip
    assert {f"events/{name}" for name in data} <= set(names)


def metadata(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_string(archive.read(name).decode())


def test_its_metadata_has_what_can_be_asked_for_by_name(wheel: Path) -> None:
    found = metadata(wheel)
    assert found["Version"] == VERSION
    extras = {"asyncio", "otel", "http", "kafka", "nats", "flower", "postgres", "redis"}
    assert extras <= set(found.get_all("Provides-Extra", []))
    # And PyPI takes addresses that are whole, if there are any
    assert all("https://" in url for url in found.get_all("Project-URL", []))


def test_what_every_mode_needs_is_installed(user: User) -> None:
    modules = "kombu.transport.redis, kombu.transport.pyamqp, psycopg, flower, events.cli"
    for code in (f"import {modules}", "from events.monitoring.flower import install; install()"):
        done = user.runs("python", "-c", code)
        assert done.returncode == 0, done.stderr


def test_it_says_which_version_it_is(user: User) -> None:
    assert user.runs("events", "--version").stdout == f"events {VERSION}\n"
    assert user.runs("python", "-c", "import events; print(events.__version__)").stdout == f"{VERSION}\n"


def test_the_quickstart_runs_as_it_is_pasted(user: User) -> None:
    # Given an empty folder with the file, README's commands are pasted
    worker = user.pastes_and_watches(blocks(ROOT / "README.md", "sh")[0])
    database = user.folder / "events.db"

    def feed() -> list[tuple[str, str]]:
        try:
            connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
            try:
                return connection.execute("SELECT library, title FROM feed").fetchall()
            finally:
                connection.close()
        except sqlite3.OperationalError:  # it isn't there yet
            return []

    try:
        # When the handler has run, then what it wrote is in the database
        eventually(lambda: feed() or worker.poll() is not None, "the handler wrote", PATIENCE)
        assert feed() == [("Arrakis", "Dune")], user.log.read_text()
        # And the worker tells of it as both documents say
        told = re.compile(r"CardAdded [0-9a-f-]+ -> add_to_feed ok")
        eventually(lambda: told.search(user.log.read_text()), "the worker told of it")
        # When Ctrl-C comes, to all that the terminal runs
        os.killpg(worker.pid, signal.SIGINT)
        # Then the worker ends by itself, with what Celery says after Ctrl-C (docs/workers.md)
        assert worker.wait(120) == 1, user.log.read_text()
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    assert "Warm shutdown" in user.log.read_text()
    assert "Traceback" not in user.log.read_text()
    # And the guide's last block shows it
    assert user.pastes(blocks(GUIDE, "sh")[-1]).startswith("('Arrakis', 'Dune')\n")


def test_a_module_of_his_own_that_is_named_events_is_named_by_the_command(user: User) -> None:
    # Given a folder in which somebody put his events into events.py
    (other := user.folder / "events.py").touch()
    try:
        # Then the command says so
        assert f"{other} has the name of this package" in user.runs("events", "status").stderr
        # And what else fails says what the guide says
        guide = GUIDE.read_text()
        for command, says in (
            (["python", "handlers.py"], "cannot import name 'DomainEvent' from 'events'"),
            (["celery", "-A", "events", "worker"], "Unable to load celery application."),
        ):
            done = user.runs(*command)
            assert done.returncode != 0
            assert says in " ".join(done.stderr.split())
            assert says in guide
    finally:
        other.unlink()


def test_what_needs_greenlet_is_told_the_way_and_nothing_else_needs_it(user: User) -> None:
    # Given what is installed without `[asyncio]`
    assert user.runs("python", "-c", "import greenlet").returncode != 0
    user.pastes("events migrate")
    # Then publish_async alone works
    event = "handlers.CardAdded(library='l', title='t')"
    alone = f"import asyncio, handlers, events; asyncio.run(events.publish_async({event}))"
    done = user.runs("python", "-c", alone)
    assert done.returncode == 0, done.stderr
    # And handlers that ask SQLAlchemy for its asyncio are told what to install
    (user.folder / "with_asyncio.py").write_text("from sqlalchemy.ext.asyncio import AsyncSession\n")
    done = user.runs("env", "EVENTS_HANDLERS=with_asyncio", "events", "catalog")
    assert done.returncode == 1
    assert done.stderr.endswith("; pip install 'celery-domain-events[asyncio]'\n")
