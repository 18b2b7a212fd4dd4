"""What the shell offers after Tab: handlers, event types and ids of the ledger. Completion is quick, or offers nothing.

Completion offers only plain names: the shell evaluates a name, and a publisher may have chosen it.
"""

import io
import threading
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, suppress
from uuid import UUID

from sqlalchemy import make_url

from events.current_pipeline import get_pipeline
from events.ledger import DeadLetterFilter, EventFilter
from events.operating import bounds
from events.pipeline import Pipeline
from events.store import file_of

_PATIENCE = 2.0  # seconds
_MOST = 50  # offers


def handlers(incomplete: str) -> list[str]:
    return _offered(incomplete, lambda pipeline: pipeline.ledger.lineage.subscribed())


def event_types(incomplete: str) -> list[str]:
    def find(pipeline: Pipeline) -> Iterable[str]:
        subscribed = (name for names in pipeline.ledger.lineage.subscribed().values() for name in names)
        return {*subscribed, *_unhandled(pipeline)}

    return _offered(incomplete, find)


def unhandled_types(incomplete: str) -> list[str]:
    return _offered(incomplete, _unhandled)


def events(incomplete: str) -> list[str]:
    def find(pipeline: Pipeline) -> Iterable[UUID]:
        if (around := bounds(incomplete)) is not None:
            return pipeline.ledger.history.between(*around, _MOST)
        return (event.event_id for event in pipeline.history.find(EventFilter(limit=_MOST)))

    return _offered(incomplete, find)


def dead_letters(incomplete: str) -> list[str]:
    return _offered(incomplete, lambda pipeline: _dead(pipeline, incomplete, discarded=False))


def discarded(incomplete: str) -> list[str]:
    return _offered(incomplete, lambda pipeline: _dead(pipeline, incomplete, discarded=True))


def groups(incomplete: str) -> list[str]:
    return _offered(incomplete, lambda pipeline: (group.key for group in pipeline.dead_letters.groups()))


def parked(incomplete: str) -> list[str]:
    def find(pipeline: Pipeline) -> Iterable[UUID]:
        return (message.id for message in pipeline.parked.find(limit=_MOST))

    return _offered(incomplete, find)


def _dead(pipeline: Pipeline, incomplete: str, *, discarded: bool) -> Iterable[UUID]:
    if (around := bounds(incomplete)) is not None:
        return pipeline.ledger.dead.between(*around, _MOST, discarded=discarded)
    letters = pipeline.dead_letters.find(DeadLetterFilter(discarded=discarded, limit=_MOST))
    return (letter.event_id for letter in letters)


def _unhandled(pipeline: Pipeline) -> Iterable[str]:
    return (unhandled.event_type for unhandled in pipeline.ledger.unhandled.types())


def _offered(incomplete: str, find: Callable[[Pipeline], Iterable[object]]) -> list[str]:
    """The names that `find` gives and a shell may evaluate. In a thread: a database that is away answers late."""
    names: list[str] = []

    def look() -> None:
        with suppress(Exception):
            pipeline = get_pipeline()
            if _is_there(pipeline.settings.database_url):
                names.extend(map(str, find(pipeline)))

    with redirect_stderr(io.StringIO()):
        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        offers = {name for name in list(names) if name.startswith(incomplete) and _is_plain(name)}
    return sorted(offers)[:_MOST]


def _is_plain(name: str) -> bool:
    """Whether the name holds only letters of Python names, in any script, and signs that mean nothing to a shell."""
    return bool(name) and all(sign in ".+@-" or f"_{sign}".isidentifier() for sign in name)


def _is_there(database_url: str) -> bool:
    """Whether the database is there: a Tab must not create the file of an SQLite database."""
    url = make_url(database_url)
    return url.get_backend_name() != "sqlite" or file_of(url.database).exists()
