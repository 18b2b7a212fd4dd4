"""Hands back the deliveries of a worker that ends, if its own process can't.

Handlers that run in the worker's process may hold the lock that the ledger needs to take their deliveries back; SQLite
has one lock for all. So the process becomes this program, which holds no lock. When a process becomes another program,
its files and connections are closed, and its transactions are rolled back.
"""

import os
import sys
import threading

from events.pipeline import Pipeline
from events.settings import Settings, load_settings
from events.text import deliveries, printable, redact

_WITHIN = 20.0  # seconds; after that, the relay finds the deliveries by the end of their lease


def last_words(settings: Settings, worker: str, exit_code: int, program: list[str]) -> None:
    """Become this module, then `program`; without a program, end. Returns only if the system refuses."""
    ledger = {"EVENTS_DATABASE_URL": settings.database_url, "EVENTS_LISTEN": "1" if settings.listen else "0"}
    arguments = [sys.executable, "-m", __name__, worker, str(exit_code), *program]
    try:
        os.execve(sys.executable, arguments, os.environ | ledger)
    except OSError as error:
        _say(f"can't hand back the deliveries that run: {printable(redact(str(error)))}")


def _release(worker: str) -> None:
    try:
        ledger = Pipeline(load_settings()).ledger
        count = ledger.inbox.release(f"{worker}.")
        ledger.workers.gone(worker)
        _say(f"handed back {deliveries(count)} that still ran")
    except Exception as error:
        _say(f"can't hand back the deliveries that ran: {printable(redact(str(error)))}")


def _say(line: str) -> None:
    """Print to sys.__stderr__: in the worker, Celery has replaced sys.stderr by a logger."""
    print(f"events: {line}", file=sys.__stderr__, flush=True)


def _main(worker: str, exit_code: str, *program: str) -> None:
    work = threading.Thread(target=_release, args=(worker,), daemon=True)
    work.start()
    work.join(_WITHIN)
    if program:
        os.execv(program[0], program)
    os._exit(int(exit_code))


if __name__ == "__main__":
    _main(*sys.argv[1:])
