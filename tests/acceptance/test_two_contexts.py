"""Two services with a database each, the library and recommendations, talk over each kind of bridge."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

import library_context
import pytest
from sqlalchemy import text

from support.kafka_mock import Mock
from support.private_servers import free_port
from support.servers import server_url
from support.system import System
from support.waiting import eventually

SERVERS = {"redis+streams": "REDIS", "redis+pubsub": "REDIS", "nats": "NATS", "nats+jetstream": "NATS",
           "rabbitmq+topic": "AMQP"}  # fmt: skip
CARDS = 20


def urls(scheme: str, kafka: Mock | None) -> tuple[str, str]:
    """The bridges of the library, and those of recommendations."""
    if scheme == "http":  # each posts to the other
        mine, theirs = (f"http://127.0.0.1:{free_port()}/events?name=" for _ in range(2))
        return f"{mine}in&direction=in {theirs}out", f"{theirs}in&direction=in {mine}out"
    prefix = f"test-{uuid4().hex[:8]}"
    if scheme == "kafka":
        assert kafka is not None
        names = ("library.card-offered.v1", "recommendations.card-recommended.v1")
        kafka.make(*(f"{prefix}.{name}" for name in names))
        server = kafka.url
    else:
        server = server_url(SERVERS[scheme])
    own = {"rabbitmq+topic": f"&exchange={prefix}&mandatory=log", "nats+jetstream": f"&stream={prefix}"}
    both = f"{scheme}://{server.partition('://')[2]}?direction=both&prefix={prefix}{own.get(scheme, '')}"
    return both, both


@pytest.fixture(params=["http", "kafka", *sorted(SERVERS)])
def contexts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[System, System]]:
    with ExitStack() as stack:
        kafka = stack.enter_context(Mock()) if request.param == "kafka" else None
        systems = []
        for name, bridges in zip(("library", "recommendations"), urls(request.param, kafka), strict=True):
            (tmp_path / name).mkdir()
            system = System(
                "sqlite", tmp_path / name, handlers=f"{name}_context", bridges=bridges, source=f"/{name}",
                poll_interval="200ms",
            )  # fmt: skip
            systems.append(stack.enter_context(system.in_use()))
            system.start_worker("solo")
        yield systems[0], systems[1]


def shelve(library: System, *cards: str) -> None:
    library.pipeline.publisher.publish([library_context.CardShelved(card=card, shelf=7) for card in cards])


def cards(system: System, table: str) -> Counter[str]:
    with system.pipeline.ledger.engine.connect() as connection:
        return Counter(connection.scalars(text(f"SELECT card FROM {table}")))


def test_what_one_context_offers_the_other_recommends(contexts: tuple[System, System]) -> None:
    # Given a library and recommendations, each with a worker, that have found each other
    library, recommendations = contexts
    for number in range(15):  # again and again, as not every kind of bridge keeps what nobody listens to
        shelve(library, f"hello-{number}")
        with suppress(AssertionError):
            eventually(lambda: cards(library, "recommended"), "a recommendation has come back", 2)
            break
    # When the library shelves cards
    shelved = [f"card-{number}" for number in range(CARDS)]
    shelve(library, *shelved)
    # Then each is offered to the other, and its recommendation comes back, once
    eventually(lambda: set(shelved) <= set(cards(library, "recommended")), "all recommendations have come back")
    assert {cards(recommendations, "offers")[card] for card in shelved} == {1}
    assert {cards(library, "recommended")[card] for card in shelved} == {1}
    # And what is private stays at home
    with recommendations.pipeline.ledger.engine.connect() as connection:
        kinds = set(connection.scalars(text("SELECT DISTINCT event_type FROM event_store")))
    assert "CardShelved" not in kinds
    assert "library.card-offered.v1" in kinds
    # And nothing is left over on either side
    assert library.pipeline.parked.counts() == recommendations.pipeline.parked.counts() == {}
