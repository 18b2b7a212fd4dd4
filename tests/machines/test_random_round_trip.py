"""Random types of fields with random values: what publish() accepts comes back equal from both stores."""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, create_model
from pydantic.errors import PydanticUserError
from sqlalchemy import delete, select

from events import DomainEvent, PublishError
from events.ledger.codec import decode, encode
from events.ledger.envelope import Envelope
from events.store import migrate
from events.store.tables import event_store
from support.exactly import exactly
from support.exploring import explore, long_enough
from support.field_models import Gift, Larger, Line, Loose, Money, Strictly
from support.servers import PostgresDatabase
from support.store import Store, envelope_columns

EXAMPLES = 250  # events a round
LARGE = 10_000_000
UNMAKEABLE = (ValidationError, PydanticUserError, TypeError, OverflowError, RuntimeError)


class Kind(Enum):
    ONE, TEXT, NOTHING = 1, "1", None


class Number(IntEnum):
    ONE = 1


class Pair(NamedTuple):
    left: int
    right: Any


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")
    value: Any = None


texts = st.text(max_size=8) | st.sampled_from(["1", "1.0", "true", "null", "NaN", "Infinity", "1e16", "\0", "\ud800"])
floats = st.floats() | st.sampled_from([1.0, -0.0, 1e16, 1e23, 1e308, 5e-324])
numbers = st.integers() | st.sampled_from([0, 1, 2**53 + 1, 10**40]) | floats | st.decimals(allow_nan=True)
times = st.datetimes(timezones=st.none() | st.timezones()) | st.dates() | st.times() | st.timedeltas()
scalars = (
    texts | numbers | st.booleans() | st.none() | times | st.uuids() | st.binary(max_size=4) | st.complex_numbers()
    | st.sampled_from([*Kind, *Number, IPv4Address("127.0.0.1"), Path("a")])
)  # fmt: skip
hashable = texts | st.integers() | st.booleans() | floats | st.none() | st.uuids() | st.dates() | st.sampled_from(Kind)
models = st.sampled_from([
    Line(sku="a"), Gift(sku="a", note="b"), Strictly(x=1), Larger(x=1, y=2), Loose(a=1), Loose(a=1, b=2),
    Money(Decimal("1.0")), Line.model_construct(sku=1), Anything(value=1.0), Anything(value={1, 2}), Pair(1, 2.0),
])  # fmt: skip


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    small: Any = {"max_size": 3}
    return (
        st.lists(inner, **small) | st.lists(inner, **small).map(tuple) | st.lists(inner, **small).map(deque)
        | st.dictionaries(hashable, inner, **small) | st.sets(hashable, **small) | st.frozensets(hashable, **small)
        | st.dictionaries(texts, inner, **small).map(OrderedDict)
    )  # fmt: skip


values = floats | st.recursive(scalars | models, nested, max_leaves=5)
plain = st.sampled_from([
    str, int, float, bool, bytes, complex, Decimal, datetime, date, time, timedelta, UUID, Kind, Number, Path, Any,
    object, list, dict, set, tuple, deque, Line, Gift, Strictly, Larger, Loose, Money, Pair, Anything, IPv4Address,
    Literal[1, "1", True, None], Annotated[Decimal, Field(allow_inf_nan=True)], OrderedDict[str, Any],
])  # fmt: skip


def composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    two = st.tuples(inner, inner)
    return (
        inner.map(lambda one: list[one]) | inner.map(lambda one: tuple[one, ...]) | two.map(lambda pair: tuple[pair])
        | inner.map(lambda one: Optional[one])  # noqa: UP045 - a type is no operand
        | two.map(lambda pair: Union[pair])  # noqa: UP007
        | two.map(lambda pair: Annotated[Union[pair], Field(union_mode="left_to_right")])  # noqa: UP007
        | two.map(lambda pair: dict[pair]) | inner.map(lambda one: set[one]) | inner.map(lambda one: Sequence[one])
        | inner.map(lambda one: deque[one]) | two.map(lambda pair: Mapping[pair])
    )  # fmt: skip


loose = st.sampled_from([Any, object, int | float, JsonValue, dict[str, Any], list])  # what JSON alone decides
annotations = loose | st.recursive(plain, composed, max_leaves=4)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[Store]]:
    database = PostgresDatabase()
    found = [Store(f"sqlite:///{tmp_path / 'events.db'}"), Store(database.url)]
    try:
        for store in found:
            migrate(store.ledger.engine)
        yield found
    finally:
        for store in found:
            store.ledger.close()
        database.drop()


def read_back(store: Store, written: Sequence[Envelope]) -> dict[UUID, Envelope]:
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, written)
        rows = connection.execute(select(*envelope_columns())).all()
        connection.execute(delete(event_store))
    return {row.id: Envelope(**row._mapping) for row in rows}


@long_enough
def test_what_is_accepted_comes_back_equal_from_both_stores(stores: list[Store]) -> None:
    explore(lambda seed: one_round(seed, stores))


def one_round(seed: int, stores: list[Store]) -> None:
    accepted: list[tuple[DomainEvent, Envelope]] = []

    @seeded(seed)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(annotations, values, values, st.integers(0, 9))
    def publish(annotation: Any, value: Any, other: Any, tenth: int) -> None:
        # Given an event with a field of some type, made as pydantic makes it, or by nobody's leave
        try:
            kind = create_model(f"Random{uuid4().hex}", __base__=DomainEvent, value=(annotation, ...))
        except UNMAKEABLE:
            return
        try:
            made = [kind(value=value)]
        except UNMAKEABLE:
            made = []
        if tenth < 3:
            made.append(kind.model_construct(value=other))
        for event in made:
            # When it is published, then it is refused, or what is stored becomes it again
            try:
                row = encode(event, max_bytes=LARGE)
            except PublishError:
                continue
            again = exactly(decode(row))
            if "Number" in exactly(event) and "Number" not in again:  # past pydantic, into a field of int
                event = kind.model_validate(dict(event))
            assert again == exactly(event), row.event_data
            accepted.append((event, row))

    publish()
    assert len(accepted) > EXAMPLES / 20
    for store in stores:
        found = read_back(store, [row for _, row in accepted])
        for event, _ in accepted:
            assert exactly(decode(found[event.event_id])) == exactly(event), store.url
