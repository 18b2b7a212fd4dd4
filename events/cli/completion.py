"""What the shell offers after Tab: handlers, event types and ids of the ledger. It is quick, or offers nothing.

Only plain names are offered: a shell evaluates them, and whoever publishes may have chosen them.
"""

import io
import threading
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, suppress
from uuid import UUID

from sqlalchemy import make_url

from events.ledger import DeadLetterFilter, EventFilter
from events.operating import bounds
from events.pipeline import Pipeline, get_pipeline
from events.store import file_of

_PATIENCE = 2.0  # seconds
_MOST = 50  # offers


def handlers(incomplete: str) -> list[str]:
    return _offered(incomplete, lambda pipeline: pipeline.ledger.lineage.subscribed())


def event_types(incomplete: str) -> list[str]:
    def find(pipeline: Pipeline) -> Iterable[str]:
        subscribed = (name for names in pipeline.ledger.lineage.subscribed().values() for name in names)
        return {*subscribed, *unhandled(pipeline)}

    def unhandled(pipeline: Pipeline) -> Iterable[str]:
        return (one.event_type for one in pipeline.ledger.unhandled.types())

    return _offered(incomplete, find)


def unhandled_types(incomplete: str) -> list[str]:
    return _offered(incomplete, lambda pipeline: (one.event_type for one in pipeline.ledger.unhandled.types()))


def events(incomplete: str) -> list[str]:
    def find(pipeline: Pipeline) -> Iterable[UUID]:
        if (around := bounds(incomplete)) is not None:
            return pipeline.ledger.history.between(*around, _MOST)
        return (one.event_id for one in pipeline.history.find(EventFilter(limit=_MOST)))

    return _offered(incomplete, find)


def dead_letters(incomplete: str) -> list[str]:
    return _offered(incomplete, lambda pipeline: _dead(pipeline, incomplete, discarded=False))


def discarded(incomplete: str) -> list[str]:
    return _offered(incomplete, lambda pipeline: _dead(pipeline, incomplete, discarded=True))


def groups(incomplete: str) -> list[str]:
    return _offered(incomplete, lambda pipeline: (one.key for one in pipeline.dead_letters.groups()))


def parked(incomplete: str) -> list[str]:
    def find(pipeline: Pipeline) -> Iterable[UUID]:
        return (one.id for one in pipeline.parked.find(limit=_MOST))

    return _offered(incomplete, find)


def _dead(pipeline: Pipeline, incomplete: str, *, discarded: bool) -> Iterable[UUID]:
    if (around := bounds(incomplete)) is not None:
        return pipeline.ledger.dead.between(*around, _MOST, discarded=discarded)
    return (one.event_id for one in pipeline.dead_letters.find(DeadLetterFilter(discarded=discarded, limit=_MOST)))


def _offered(incomplete: str, find: Callable[[Pipeline], Iterable[object]]) -> list[str]:
    """In a thread, since a database that is away may take long to say so."""
    found: list[str] = []

    def look() -> None:
        with suppress(Exception):
            pipeline = get_pipeline()
            if _is_there(pipeline.settings.database_url):
                found.extend(str(one) for one in find(pipeline))

    with redirect_stderr(io.StringIO()):
        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        offers = {one for one in list(found) if one.startswith(incomplete) and _is_plain(one)}
    return sorted(offers)[:_MOST]


def _is_plain(name: str) -> bool:
    """Only of what names of Python may have, in any script, and of a few signs that no shell knows."""
    return bool(name) and all(sign in ".+@-" or f"_{sign}".isidentifier() for sign in name)


def _is_there(database_url: str) -> bool:
    """A file that isn't there is not made by a Tab."""
    url = make_url(database_url)
    return url.get_backend_name() != "sqlite" or file_of(url.database).exists()
