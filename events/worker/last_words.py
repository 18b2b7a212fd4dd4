"""Handlers that run in the worker's own process may hold, until that is gone, the lock that the ledger needs to take
their deliveries back (SQLite has one for all). So the process becomes this program, which holds none, and does it.

Whatever a program has open is closed when it becomes another: its transactions are rolled back.
"""

import os
import sys
import threading

from events.pipeline import Pipeline
from events.settings import Settings, load_settings
from events.text import printable, redact

_WITHIN = 20.0  # seconds; then they are found by the end of their lease


def last_words(settings: Settings, worker: str, exit_code: int, program: list[str]) -> None:
    """Become this module, and then `program`, or nothing. Returns only if that can't be done."""
    ledger = {"EVENTS_DATABASE_URL": settings.database_url, "EVENTS_LISTEN": "1" if settings.listen else "0"}
    arguments = [sys.executable, "-m", __name__, worker, str(exit_code), *program]
    try:
        os.execve(sys.executable, arguments, os.environ | ledger)
    except OSError as error:
        print(f"events: can't hand back what runs: {printable(redact(str(error)))}", file=sys.__stderr__, flush=True)


def _release(worker: str) -> None:
    try:
        ledger = Pipeline(load_settings()).ledger
        count = ledger.inbox.release(f"{worker}.")
        ledger.workers.gone(worker)
        print(f"events: handed back {count} deliveries that still ran", file=sys.stderr, flush=True)
    except Exception as error:
        print(f"events: can't hand back what ran: {printable(redact(str(error)))}", file=sys.stderr, flush=True)


def _main(worker: str, exit_code: str, *program: str) -> None:
    work = threading.Thread(target=_release, args=(worker,), daemon=True)
    work.start()
    work.join(_WITHIN)
    if program:
        os.execv(program[0], program)
    os._exit(int(exit_code))


if __name__ == "__main__":
    _main(*sys.argv[1:])
