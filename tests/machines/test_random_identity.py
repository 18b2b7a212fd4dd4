"""Random senders, ids and contents, from outside and from here, against a model: an event is its source and its id."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from events import DomainEvent
from events.bridges.cloudevents import outgoing
from events.bridges.contract import Received
from events.bridges.forms import ID_TAKEN
from events.bridges.receiving import Receiver
from events.errors import EventIdTaken
from events.hooks import Hooks
from events.ledger.codec import decode
from events.ledger.identity import SENT_AS, received_id
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store.tables import event_parked, event_store
from support.exploring import explore_machine, long_enough

OURS = "/events"  # what everybody is called who says nothing else
IDS = ["01890000-0000-7000-8000-000000000001", "01890000-0000-7000-8000-000000000002", "17", "at 1"]
UUIDS = [UUID(one) for one in IDS[:2]]
TIMES = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
UNSAID = "played:s"  # the source of what doesn't say its own


class Told(DomainEvent):
    n: int


class Retold(DomainEvent):
    n: int


Content = tuple[str, int, datetime | None]  # type, data, time; None if nobody said it, and then it is that of arrival
KINDS: dict[str, type[Told | Retold]] = {"Told": Told, "Retold": Retold}
contents = st.tuples(st.sampled_from(list(KINDS)), st.sampled_from([1, 2]), st.sampled_from(TIMES))
sources = st.sampled_from(["/a", "/b", OURS, ""])
messages = st.tuples(sources, st.sampled_from(IDS), contents, st.booleans(), st.booleans())


def is_repeat(given: Content, stored: Content) -> bool:
    return given[:2] == stored[:2] and (given[2] is None or given[2] == stored[2])


class Played:
    """A server that hands out what it is given, and forgets what is acknowledged."""

    def __init__(self) -> None:
        self.waiting: list[Received] = []

    def receive(self, _: float) -> Sequence[Received]:
        return list(self.waiting)

    def acknowledge(self, received: Sequence[Received]) -> None:
        self.waiting.clear()

    def close(self) -> None: ...


class Identities(RuleBasedStateMachine):
    pipeline: ClassVar[Pipeline]

    @initialize()
    def begin(self) -> None:
        with self.pipeline.ledger.events.begin() as connection:
            connection.execute(delete(event_store))
            connection.execute(delete(event_parked))
        ledger: Any = self.pipeline.ledger
        self.server = Played()
        self.receiver = Receiver(
            name="played", accept=("*",), subscriber=self.server, acceptance=self.pipeline.acceptance,
            events=ledger.events, lot=ledger.parked, inbox=ledger.inbox, hooks=Hooks(), worker="test",
        )  # fmt: skip
        self.ours: dict[UUID, Content] = {}
        self.older: dict[UUID, tuple[str, Content]] = {}  # received by older code: under the sender's own id
        self.theirs: dict[tuple[str, str], Content] = {}
        self.parked: dict[str, tuple[UUID | None, str, Content, bool]] = {}  # by position
        self.sent: list[tuple[Received, str, str, Content, bool]] = []

    @rule(several=st.lists(messages, min_size=1, max_size=4))
    def receive(self, several: list[tuple[str, str, Content, bool, bool]]) -> None:
        for source, sent_as, (kind, n, when), timed, forwarded in several:
            body = {"n": n, "eventId": sent_as, "eventType": kind}
            body |= {"eventSource": source} if source else {}
            body |= {"dateTimeOccurred": when.isoformat()} if timed and when else {}
            body |= {"eventForwardedBy": "/x"} if forwarded else {}
            received = Received(json.dumps(body).encode(), {}, "s", f"position {len(self.sent)}")
            one = (received, source or UNSAID, sent_as, (kind, n, when if timed else None), forwarded)
            self.sent.append(one)
            self._arrives(*one)
        self.receiver.step(0)

    @rule(which=st.integers(min_value=0))
    def receive_again(self, which: int) -> None:
        if self.sent:
            self._arrives(*self.sent[which % len(self.sent)])
            self.receiver.step(0)

    def _arrives(self, received: Received, source: str, sent_as: str, content: Content, forwarded: bool) -> None:
        """What the model says of it."""
        self.server.waiting.append(received)
        raw = UUID(sent_as) if "-" in sent_as else None
        known: Content | None = None
        if raw in self.older and self.older[raw][0] == source:
            known = self.older[raw][1]
        elif self._came_back(raw, source, content, forwarded):
            return
        known = known or self.theirs.get((source, sent_as))
        if known is None:
            self.theirs[source, sent_as] = content
        elif not is_repeat(content, known):
            self.parked[received.position] = raw, source, content, forwarded

    def _came_back(self, raw: UUID | None, source: str, content: Content, forwarded: bool) -> bool:
        here = self.ours | {event_id: content for event_id, (_, content) in self.older.items()}
        may_be_ours = source == OURS or (content[2] is not None and (forwarded or source == UNSAID))
        return raw in here and may_be_ours and is_repeat(content, here[raw])

    @rule(event_id=st.sampled_from(UUIDS), content=contents, way=st.sampled_from(["alone", "session", "twice"]))
    def publish(self, event_id: UUID, content: Content, way: str) -> None:
        kind, n, when = content
        event = KINDS[kind](n=n, event_id=event_id, occurred_at=when)
        self._published(event_id, content, [event, event] if way == "twice" else [event], in_session=way == "session")

    @rule(which=st.integers(min_value=0), changed=st.booleans())
    def publish_what_came_in(self, which: int, changed: bool) -> None:
        """As a handler may do with the event that it is given, or with a copy of it."""
        rows = [one for one in self._rows() if SENT_AS in json.loads(one.metadata)]
        if not rows:
            return
        event: Any = decode(rows[which % len(rows)])
        copy = event.model_copy(update={"n": event.n + 1} if changed else {})
        if not changed:
            self.pipeline.publisher.publish(copy)
            return
        with pytest.raises(EventIdTaken):
            self.pipeline.publisher.publish([Told(n=3), copy])

    def _published(self, event_id: UUID, content: Content, events: list[DomainEvent], *, in_session: bool) -> None:
        known = self.ours.get(event_id) or (self.older[event_id][1] if event_id in self.older else None)
        try:
            if in_session:
                with Session(self.pipeline.ledger.engine) as session, session.begin():
                    self.pipeline.publisher.publish(events, session=session)
            else:
                self.pipeline.publisher.publish(events)
        except EventIdTaken:
            assert known is not None
            assert known != content
            return
        assert known in (None, content)
        if known is None:
            self.ours[event_id] = content

    @rule(event_id=st.sampled_from(UUIDS), source=st.sampled_from(["/a", "/b"]), content=contents)
    def older_code_receives(self, event_id: UUID, source: str, content: Content) -> None:
        if event_id in self.ours or event_id in self.older or (source, str(event_id)) in self.theirs:
            return
        kind, n, when = content
        with self.pipeline.ledger.events.begin() as connection:
            connection.execute(insert(event_store).values(
                id=event_id, aggregate_id="", event_type=kind, event_data=json.dumps({"n": n}), timestamp=when,
                metadata=json.dumps({"correlation_id": "c", "bridge": "played", "source": source}),
            ))  # fmt: skip
        self.older[event_id] = source, content

    @rule()
    def send_on_what_came_in_and_get_it_back(self) -> None:
        """Through others, who keep source and id."""
        for row in self._rows():
            told = json.loads(row.metadata)
            if SENT_AS in told and told["source"] != UNSAID:
                message = outgoing(decode(row), "/x")
                self.server.waiting.append(Received(message.body, message.headers(), "s", f"again {row.id}"))
        self.receiver.step(0)

    @rule()
    def replay_what_is_parked(self) -> None:
        # Another event has its id, now as then; unless it is equal to an event of ours that was published since.
        back = [position for position, message in self.parked.items() if self._came_back(*message)]
        assert self.pipeline.parked.replay() == len(back)
        for position in back:
            del self.parked[position]

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        expected = {event_id: content[:2] for event_id, content in self.ours.items()}
        expected |= {event_id: content[:2] for event_id, (_, content) in self.older.items()}
        expected |= {received_id(*whose): content[:2] for whose, content in self.theirs.items()}
        assert {one.id: (one.event_type, json.loads(one.event_data)["n"]) for one in self._rows()} == expected
        parked = self.pipeline.parked.find(limit=None)
        assert {one.properties["position"] for one in parked} == self.parked.keys()
        assert {one.reason for one in parked} <= {ID_TAKEN}
        assert len(parked) == len(self.parked)

    def _rows(self) -> list[Any]:
        columns = event_store.c
        ids = select(columns.id).order_by(columns.id)
        with self.pipeline.ledger.engine.connect() as connection:
            return list(self.pipeline.ledger.events.stored(connection, connection.scalars(ids).all()).values())


@pytest.fixture
def pipeline(url: str) -> Iterator[Pipeline]:
    pipeline = Pipeline(Settings(database_url=url, broker_url=""))
    pipeline.migrate()
    yield pipeline
    pipeline.close()


@long_enough
def test_an_event_is_its_source_and_its_id(pipeline: Pipeline) -> None:
    Identities.pipeline = pipeline
    explore_machine(Identities, examples=20, steps=15)
