"""`import events` changes nothing for the rest of the process."""

import json
import subprocess
import sys

import events

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
found += [name for name in ("celery", "kombu", "redis", "flower", "prometheus_client") if name in sys.modules]
print(json.dumps(found))
"""


def test_importing_the_package_registers_nothing_in_the_process() -> None:
    # Given a process with SQLAlchemy and pydantic, whose registries are watched
    # When it imports events
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    # Then nothing of the process is changed, and no broker's library is loaded
    assert json.loads(ended.stdout) == []


def test_the_front_door_lists_what_it_exports() -> None:
    assert sorted(events.__all__) == sorted(set(events.__all__))
    assert all(hasattr(events, name) for name in events.__all__)
