"""`import events` changes nothing for the rest of the process, and no module loads more than it needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import events
from events.testing import migrated_file

PROGRAM = """
import atexit, json, logging, os, signal, sys, threading, warnings
import pydantic, sqlalchemy.orm
from sqlalchemy import Engine, Pool, event
from sqlalchemy.orm import Session

found = []

def watched(place, name):
    was = getattr(place, name)

    def watching(*args, **kwargs):
        frame = sys._getframe(1)
        while frame is not None and not (ours := frame.f_globals.get("__name__", "").startswith("events")):
            frame = frame.f_back
        if frame is not None and (place is not event.api or args[0] in (Session, Engine, Pool)):
            found.append(f"{name} by {frame.f_globals['__name__']}")
        return was(*args, **kwargs)

    setattr(place, name, watching)

watched(os, "register_at_fork")
watched(atexit, "register")
watched(signal, "signal")
watched(event.api, "_event_key")
watched(warnings, "filterwarnings")
watched(threading.Thread, "start")
merge = Session._merge
hooks = [sys.excepthook, threading.excepthook, logging.getLoggerClass(), list(logging.getLogger().handlers)]

import events

if Session._merge is not merge:
    found.append("Session._merge")
if hooks != [sys.excepthook, threading.excepthook, logging.getLoggerClass(), list(logging.getLogger().handlers)]:
    found.append("hooks")
heavy = ("celery", "kombu", "redis", "amqp", "nats", "confluent_kafka", "urllib3", "flower", "tornado", "alembic")
found += [name for name in heavy if name in sys.modules]
print(json.dumps(found))
"""


def test_importing_the_package_registers_nothing_in_the_process() -> None:
    # Given a process with SQLAlchemy and pydantic, whose registries are watched
    # When it imports events
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    # Then nothing of the process is changed, and no broker's library is loaded
    assert json.loads(ended.stdout) == []


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("events.worker.app", "prometheus_client"),  # only a worker with a port has metrics to serve
        ("events.worker.last_words", "celery, kombu, prometheus_client"),  # it begins when there is no time left
        ("events.diagnosis", "celery, prometheus_client, events.worker.app"),
        ("events.cli", "celery, kombu, amqp, redis, prometheus_client, alembic"),
        ("events.transport.opening", "redis"),
    ],
)
def test_a_module_loads_no_more_than_it_needs(modules: str, heavy: str) -> None:
    # Given a process of its own, When it imports the module
    program = f"import sys, {modules}; print(*sorted({{*{heavy.split(', ')!r}}} & {{*sys.modules}}))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # Then nothing heavy came with it
    assert ended.stdout == "\n"


def test_the_program_that_hands_back_deliveries_begins_without_a_warning(tmp_path: Path) -> None:
    # Given a ledger, and warnings that are errors
    (tmp_path / "events.db").write_bytes(migrated_file())
    environment = {**os.environ, "EVENTS_DATABASE_URL": f"sqlite:///{tmp_path / 'events.db'}"}
    program = [sys.executable, "-W", "error", "-m", "events.worker.last_words", "w", "0"]
    # When a worker becomes that program
    ended = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    # Then it hands back what ran, and says just that
    assert ended.stderr == "events: handed back 0 deliveries that still ran\n"


def test_the_front_door_lists_what_it_exports() -> None:
    assert sorted(events.__all__) == sorted(set(events.__all__))
    assert all(hasattr(events, name) for name in events.__all__)
