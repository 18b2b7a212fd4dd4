"""Translators: what the outside is told of a fact, and what it tells us; each once, and never in circles."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid5

import pytest
from sqlalchemy import select, update

from events import (
    DefinitionError,
    Delivery,
    DomainEvent,
    IntegrationEvent,
    Metadata,
    Retry,
    handles,
    publish,
    translates,
)
from events.handling.translating import _went_round
from events.ledger.codec import decode
from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.envelope import Envelope
from events.ledger.outcome import Outcome
from events.store.tables import event_deliveries, event_store
from events.testing import InlinePipeline
from support.store import envelope_columns

ONCE = Retry(max_attempts=1)
TWICE = Retry(max_attempts=2)
fails: list[Exception] = []  # what the next runs of a translator raise, after they returned
returns: list[Any] = []


class BookShelved(DomainEvent, aggregate_id="library"):
    library: str
    title: str


class BookShelvedV1(IntegrationEvent, name="library.book-shelved.v1", aggregate_id="library"):
    library: str
    title: str


class BookShelvedV2(IntegrationEvent, name="library.book-shelved.v2", aggregate_id="library"):
    library: str
    name: str


@translates(BookShelved, retry=TWICE)
def tell_readers(event: BookShelved, delivery: Delivery) -> Iterator[BookShelvedV1 | BookShelvedV2]:
    """The old words and the new, side by side."""
    yield BookShelvedV1(library=event.library, title=event.title)
    yield BookShelvedV2(library=event.library, name=event.title)
    if fails:
        raise fails.pop()


@translates(BookShelvedV1)
async def from_other_libraries(event: BookShelvedV1) -> BookShelved:
    return BookShelved(library=event.library, title=event.title)


class PackageWeighed(DomainEvent):
    grams: int


class HeavyPackageFound(IntegrationEvent):
    grams: int


@translates(PackageWeighed)
def only_the_heavy(event: PackageWeighed) -> HeavyPackageFound | None:
    return HeavyPackageFound(grams=event.grams) if event.grams > 1000 else None


class QuestionAsked(DomainEvent):
    pass


class QuestionAnswered(IntegrationEvent):
    text: str = "yes"


@translates(QuestionAsked, retry=ONCE)
def answer_it(event: QuestionAsked) -> list[QuestionAnswered]:
    return returns.pop() if returns else [QuestionAnswered(), QuestionAnswered(text="no")]


def stored(pipeline: InlinePipeline, event_type: str) -> list[DomainEvent]:
    """The events of that type in the ledger."""
    query = select(*envelope_columns()).where(event_store.c.event_type == event_type).order_by(event_store.c.id)
    with pipeline.ledger.engine.connect() as connection:
        return [decode(Envelope(**row._mapping)) for row in connection.execute(query)]


def test_a_fact_is_told_in_other_words_with_what_caused_it(events_pipeline: InlinePipeline) -> None:
    # When a domain event is published, and a request has a name
    event = BookShelved(library="l-1", title="Dune", metadata=Metadata(correlation_id="request-7"))
    publish(event)
    events_pipeline.run()
    # Then both versions of the contract are there, and belong to the same request
    (old,), (new,) = (stored(events_pipeline, f"library.book-shelved.v{version}") for version in (1, 2))
    assert (old.title, new.name) == ("Dune", "Dune")  # type: ignore[attr-defined]
    for told in (old, new):
        assert told.metadata.causation_id == str(event.event_id)
        assert told.metadata.correlation_id == "request-7"
        assert told.aggregate_id == "l-1"
        assert told.occurred_at == event.occurred_at


def test_what_runs_again_publishes_nothing_new(events_pipeline: InlinePipeline) -> None:
    # Given a translator that fails after it has published, and then doesn't
    fails[:] = [ValueError("no")]
    event = BookShelved(library="l-1", title="Dune")
    publish(event)
    attempts = [result.outcome for wakeup, result in events_pipeline.run() if wakeup.handler == "tell_readers"]
    assert attempts == [Outcome.RETRY, Outcome.SUCCEEDED]
    # And when that is run again though it was done, as by a database that forgot the outcome
    with events_pipeline.ledger.engine.begin() as connection:
        connection.execute(update(event_deliveries).values(state="pending", due_at=event_deliveries.c.created_at))
    assert len(events_pipeline.run()) > 1
    # Then it is told once, under an id that follows from the event's
    (told,) = stored(events_pipeline, "library.book-shelved.v1")
    assert told.event_id == derived(event.event_id, "tell_readers", "library.book-shelved.v1", 1)


def derived(cause: UUID, translator: str, event_type: str, number: int) -> UUID:
    """The rule, as others may need it: written down here so that nobody changes it unawares."""
    return uuid5(cause, f"{translator}/{event_type}/{number}")


def test_a_replay_of_a_dead_letter_publishes_each_once(events_pipeline: InlinePipeline) -> None:
    # Given a translator that died of its event
    fails[:] = [ValueError("no"), ValueError("no")]
    event = BookShelved(library="l-1", title="Dune")
    publish(event)
    events_pipeline.run()
    assert stored(events_pipeline, "library.book-shelved.v1") == []
    # When it is replayed
    assert events_pipeline.dead_letters.replay(DeadLetterFilter(event_ids=[event.event_id]), "me") == 1
    events_pipeline.run()
    # Then it is told once
    (told,) = stored(events_pipeline, "library.book-shelved.v1")
    assert told.event_id == derived(event.event_id, "tell_readers", "library.book-shelved.v1", 1)


def test_several_of_one_kind_have_ids_of_their_own_and_an_id_that_is_given_is_kept(
    events_pipeline: InlinePipeline,
) -> None:
    asked = QuestionAsked()
    publish(asked)
    events_pipeline.run()
    ids = {derived(asked.event_id, "answer_it", "QuestionAnswered", number) for number in (1, 2)}
    assert {told.event_id for told in stored(events_pipeline, "QuestionAnswered")} == ids
    # And of one that brings its id along, that
    own = QuestionAnswered(event_id=UUID(int=7))
    returns[:] = [own]
    publish(QuestionAsked())
    events_pipeline.run()
    assert own.event_id in {told.event_id for told in stored(events_pipeline, "QuestionAnswered")}


def test_a_translator_may_have_nothing_to_say(events_pipeline: InlinePipeline) -> None:
    publish([PackageWeighed(grams=10), PackageWeighed(grams=2000)])
    events_pipeline.run()
    (told,) = stored(events_pipeline, "HeavyPackageFound")
    assert told.grams == 2000  # type: ignore[attr-defined]


def test_what_came_from_outside_is_not_told_back_in_any_version(events_pipeline: InlinePipeline) -> None:
    # When another library's event comes in, and makes a domain event here
    publish(BookShelvedV1(library="l-2", title="Emma", metadata=Metadata(bridge="nats")))  # type: ignore[call-arg]
    events_pipeline.run()
    # Then that is handled, and nobody is told again what he said himself
    (known,) = stored(events_pipeline, "BookShelved")
    assert known.title == "Emma"  # type: ignore[attr-defined]
    assert len(stored(events_pipeline, "library.book-shelved.v1")) == 1
    assert stored(events_pipeline, "library.book-shelved.v2") == []
    # And what began here is told once, though what is told is translated, too
    publish(BookShelved(library="l-1", title="Dune"))
    events_pipeline.run()
    assert len(stored(events_pipeline, "BookShelved")) == 2
    assert len(stored(events_pipeline, "library.book-shelved.v1")) == 2


def test_from_version_to_version_is_no_way_back() -> None:
    assert not _went_round("card.v2", ["card.v1"])
    assert not _went_round("card.v3", ["card.v1", "card.v2"])
    assert not _went_round("other.v1", ["card.v1", "Added"])
    assert _went_round("card.v1", ["card.v1", "card.v2"])
    assert _went_round("card.v2", ["card.v1", "Added"])


@pytest.mark.parametrize("wrong", [7, "text", [PackageWeighed(grams=1)], {"text": "no"}, [QuestionAnswered(), None]])
def test_what_is_not_promised_is_refused_by_name(events_pipeline: InlinePipeline, wrong: Any) -> None:
    returns[:] = [wrong]
    publish(QuestionAsked())
    ((_, result),) = events_pipeline.run()
    assert result.outcome is Outcome.DEAD
    assert "PublishError" in repr(result.error)
    assert "translator 'answer_it' returned" in str(result.error)
    assert "its annotation says QuestionAnswered" in str(result.error)
    assert stored(events_pipeline, "QuestionAnswered") == []


def test_the_event_itself_is_no_translation_of_it(events_pipeline: InlinePipeline) -> None:
    asked = QuestionAsked()
    returns[:] = [QuestionAnswered(event_id=asked.event_id)]
    publish(asked)
    ((_, result),) = events_pipeline.run()
    assert "translator 'answer_it' returned the event that it was given, or its id" in str(result.error)


def test_definitions_that_can_not_be_meant_are_named_with_their_places() -> None:
    with pytest.raises(DefinitionError, match=r"'mute' \(.*test_translating\.py:\d+\): its return annotation names no"):

        @translates(QuestionAsked)
        def mute(event: QuestionAsked) -> None: ...

    with pytest.raises(DefinitionError, match=r"'wordy' .*: its return annotation says str"):

        @translates(QuestionAsked)
        def wordy(event: QuestionAsked) -> QuestionAnswered | str: ...

    with pytest.raises(DefinitionError, match=r"'vague' .* makes IntegrationEvent \(.*\), which is abstract"):

        @translates(QuestionAsked)
        def vague(event: QuestionAsked) -> IntegrationEvent: ...

    with pytest.raises(DefinitionError, match=r"'deaf' .* translates <class 'int'>.*which is no event"):

        @translates(int)  # type: ignore[arg-type]
        def deaf(event: int) -> QuestionAnswered: ...

    with pytest.raises(DefinitionError, match=r"'blind' .* does not ask for the event"):

        @translates(QuestionAsked)
        def blind(delivery: Delivery) -> QuestionAnswered: ...

    with pytest.raises(DefinitionError, match=r"'gossip' .* private event of a private one: PackageW.* \(.*py:\d+\)"):

        @translates(QuestionAsked)
        def gossip(event: QuestionAsked) -> PackageWeighed: ...

    with pytest.raises(DefinitionError, match=r"'parrot' .* makes QuestionAnswered of itself"):

        @translates(QuestionAnswered)
        def parrot(event: QuestionAnswered) -> QuestionAnswered: ...

    with pytest.raises(DefinitionError, match=r"two handlers are named 'answer_it'"):

        @translates(QuestionAsked, name="answer_it")
        def another(event: QuestionAsked) -> QuestionAnswered: ...

    with pytest.raises(DefinitionError, match=r"@translates at .*py:\d+ belongs on a function"):
        translates(QuestionAsked)(QuestionAsked)


def test_handlers_and_translators_of_one_event_stand_side_by_side(events_pipeline: InlinePipeline) -> None:
    heard: list[str] = []

    @handles(HeavyPackageFound)
    def lift_it(event: HeavyPackageFound) -> None:
        heard.append(str(event.grams))

    publish(PackageWeighed(grams=5000))
    assert [wakeup.handler for wakeup, _ in events_pipeline.run()] == ["only_the_heavy", "lift_it"]
    assert heard == ["5000"]
