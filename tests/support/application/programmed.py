"""Handlers that run the programs of support.programs: by a connection, by a session, and many in one call."""

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from events import Retry, handles, seconds
from support.grouped import Item
from support.programs import Steps

TWICE = Retry(max_attempts=2, backoff=seconds(0.05), jitter=0)


class ByConnection(Item):
    pass


class BySession(Item):
    pass


class Batched(Item):
    pass


@handles(ByConnection, retry=TWICE)
def programs_by_connection(event: ByConnection, connection: Connection) -> None:
    _run(event, connection, None)


@handles(BySession, retry=TWICE)
def programs_by_session(event: BySession, session: Session) -> None:
    _run(event, None, session)


@handles(Batched, batch=50, retry=TWICE)
def programs_in_a_batch(events: list[Batched], session: Session) -> None:
    for event in events:
        _run(event, None, session)


HANDLERS: dict[type[Item], str] = {
    ByConnection: "programs_by_connection",
    BySession: "programs_by_session",
    Batched: "programs_in_a_batch",
}


def _run(event: Item, given: Connection | None, session: Session | None) -> None:
    step = Steps(event.place, given, session)
    for word in event.do.split("; "):
        if word:
            step(word)
