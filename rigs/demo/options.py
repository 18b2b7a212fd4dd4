"""What the demo is asked to do, and the environment that follows from it: what was passed, and nothing else."""

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / ".cache" / "demo"
KEPT = 24 * 3600  # seconds after which the folder of an earlier run is removed
ALIASES = ("DATABASE_URL", "AMQP_URL", "CLOUDAMQP_URL", "REDIS_URL", "PYTHONPATH")
PREFIXES = ("EVENTS_", "CELERY", "FLOWER_")


@dataclass(frozen=True)
class Options:
    """One run of the demo."""

    run: str
    folder: Path
    cards: int | None
    kill_worker: bool
    json: bool
    environment: dict[str, str]

    @property
    def settings(self) -> dict[str, str]:
        """What of the environment is ours, to be set again by whoever wants to look at the run's data."""
        return {name: value for name, value in self.environment.items() if name.startswith("EVENTS_")}


def parse(arguments: Sequence[str]) -> Options:
    """Read the arguments, make the folder of this run, and make the environment of this process that of the run."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Adds real links to libraries, each in a transaction with its event; a real Celery worker handles "
        "them. Shows what became of each, and fails if any was lost or handled twice.",
    )
    parser.add_argument("--kill-worker", action="store_true", help="kill -9 the worker in the middle, start another")
    parser.add_argument("--cards", type=_positive, metavar="N", help="only the first N cards (default: all 2,471)")
    parser.add_argument("--database-url", metavar="URL", help="default: a new SQLite file in .cache/demo")
    parser.add_argument("--broker-url", metavar="URL", default="", help="amqp:// or redis://; default: no broker")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout, all else on stderr")
    given = parser.parse_args(arguments)

    run = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:6]}"
    folder = RUNS / run
    _remove_old_runs()
    folder.mkdir(parents=True)
    settings = {"EVENTS_DATABASE_URL": _from_here(given.database_url or f"sqlite:///{folder / 'events.db'}")}
    if given.broker_url:
        settings["EVENTS_BROKER_URL"] = given.broker_url
    if given.broker_url or given.database_url:
        settings["EVENTS_QUEUE"] = f"demo-{run}"  # other workers may be at work there: neither takes the other's tasks
    if given.kill_worker:
        settings |= {"EVENTS_LEASE": "5s", "EVENTS_STALE_AFTER": "5s"}  # both 60s by default: too long to watch
    for name in [name for name in os.environ if name.startswith(PREFIXES) or name in ALIASES]:
        del os.environ[name]
    os.environ.update(settings)
    return Options(run, folder, given.cards, given.kill_worker, given.json, dict(os.environ))


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of cards; use 1 or more")
    return int(text)


def _from_here(url: str) -> str:
    """The worker runs in the project's folder, so the path of an SQLite file is made absolute."""
    scheme, slashes, path = url.partition(":///")
    if scheme.startswith("sqlite") and slashes and path and not path.startswith(("/", ":", "file:")):
        return f"{scheme}:///{Path.cwd() / path}"
    return url


def _remove_old_runs() -> None:
    for folder in RUNS.glob("*-*-*"):
        if time.time() - folder.stat().st_mtime > KEPT:
            shutil.rmtree(folder, ignore_errors=True)
