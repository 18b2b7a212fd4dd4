"""An event that an ORM has made a string of, as it was JSON already: it is that event, wherever it is looked at."""

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import JSON, Column, MetaData, String, Table, create_engine, insert
from sqlalchemy import Uuid as Id
from sqlalchemy.dialects.postgresql import JSONB

from events import DomainEvent, publish
from events.errors import EventIdTaken
from events.ledger.codec import decode
from events.ledger.dead_letters import DeadLetterFilter
from events.pipeline import Pipeline
from events.settings.settings import Settings
from support.store import OOPS, Store


class StrungUp(DomainEvent, aggregate_id="cord", masked=("knot",)):
    cord: str
    knot: str = ""


def written(store: Store, cord: str = "hemp") -> UUID:
    """An application that hands its ORM the text of an event where it wants the event."""
    event_id = uuid4()
    model = Table(
        "event_store", MetaData(),
        Column("id", Id() if not store.sqlite else String()), Column("aggregate_id", String()),
        Column("event_type", String()), Column("event_data", JSON().with_variant(JSONB(), "postgresql")),
    )  # fmt: skip
    data = json.dumps({"cord": cord, "knot": "secret"})
    engine = create_engine(store.settings.database_url)
    with engine.begin() as connection:
        row = {"id": str(event_id) if store.sqlite else event_id, "aggregate_id": cord, "event_type": "StrungUp"}
        connection.execute(insert(model).values(row | {"event_data": data}))
    engine.dispose()
    kind = "event_data LIKE '\"%'" if store.sqlite else "jsonb_typeof(event_data) = 'string'"
    assert store.count_of("event_store", kind) == 1
    return event_id


def test_it_is_handled_and_shown_as_what_it_is(store: Store) -> None:
    # Given such an event
    event_id = written(store)
    store.subscribe("tie", event_type="StrungUp")
    # When a worker claims it, then its handler gets the event
    claim = store.claim(store.take()[0])
    event = decode(claim.envelope)
    assert isinstance(event, StrungUp)
    assert (event.cord, event.knot) == ("hemp", "secret")
    # And whoever looks at it sees its fields, without what is masked
    pipeline = Pipeline(Settings(database_url=store.url, broker_url="", edit=True))
    shown = {"cord": "hemp", "knot": "***"}
    assert json.loads(pipeline.history.event(event_id).data) == shown
    assert store.ledger.inbox.bury(claim, OOPS)
    (letter,) = pipeline.dead_letters.show(event_id)
    assert json.loads(letter.event_data) == shown
    # And an operator can correct it
    corrected = pipeline.correcting.correct(event_id, {"cord": "silk"}, "ann")
    copy = decode(store.claim(store.take()[0]).envelope)
    assert isinstance(copy, StrungUp)
    assert (copy.event_id, copy.cord, copy.knot) == (corrected, "silk", "secret")
    assert store.ledger.dead.find(DeadLetterFilter()) == []
    pipeline.close()


def test_the_same_event_published_again_is_the_same_event(store: Store, pipeline: Pipeline) -> None:
    # Given such an event; When it is published by us, then nothing is changed
    event_id = written(store)
    with store.ledger.engine.connect() as connection:
        (stored,) = store.ledger.events.stored(connection, [event_id]).values()
    when = stored.timestamp or datetime.now(UTC)
    publish(StrungUp(cord="hemp", knot="secret", event_id=event_id, occurred_at=when))
    assert store.count() == 1
    # And another under its id is refused
    with pytest.raises(EventIdTaken, match=r"event_data \(cord\)"):
        publish(StrungUp(cord="silk", knot="secret", event_id=event_id, occurred_at=when))
