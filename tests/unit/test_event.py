"""Events: names, versions, ids and the errors of their declaration."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from events import DefinitionError, DomainEvent
from events.definition.ids import uuid7


class Opened(DomainEvent, aggregate_id="door"):
    door: int


class OldName(DomainEvent, name="door.closed", version=3):
    pass


def test_name_and_version_are_declared_on_the_class() -> None:
    assert (Opened.event_name, Opened.schema_version, Opened(door=7).aggregate_id) == ("Opened", 1, "7")
    assert (OldName.event_name, OldName.schema_version, OldName().aggregate_id) == ("door.closed", 3, "")


def test_an_event_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Opened(door=1).door = 2  # type: ignore[misc]


def test_a_misspelt_or_wrong_field_is_named_when_an_event_is_made() -> None:
    with pytest.raises(ValidationError, match=r"Opened\ndor"):
        Opened(door=1, dor=2)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match=r"Opened\ndoor\n.*input_value='x'"):
        Opened(door="x")  # type: ignore[arg-type]


def test_ids_are_of_version_7_unique_and_in_order() -> None:
    ids = [uuid7() for _ in range(10_000)]
    assert all(one.version == 7 for one in ids)
    assert sorted(set(ids)) == ids


def test_occurred_at_is_aware_and_in_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert Opened(door=1).occurred_at.tzinfo is UTC
    assert Opened(door=1, occurred_at=datetime(2026, 1, 1, 9, tzinfo=tokyo)).occurred_at.isoformat() == (
        "2026-01-01T00:00:00+00:00"
    )
    with pytest.raises(ValidationError, match="occurred_at"):
        Opened(door=1, occurred_at=datetime(2026, 1, 1))


def test_two_events_of_one_name_are_an_error_that_names_both_places() -> None:
    class Twin(DomainEvent):
        pass

    with pytest.raises(DefinitionError, match=r"(?s)'Twin'.*test_event\.py:\d+.*test_event\.py:\d+"):

        class Other(DomainEvent, name="Twin"):
            pass


def test_an_unknown_aggregate_field_a_reserved_field_and_a_bad_version_are_named() -> None:
    with pytest.raises(DefinitionError, match=r"'nowhere'.*its fields: here"):

        class Lost(DomainEvent, aggregate_id="nowhere"):
            here: int

    with pytest.raises(DefinitionError, match="'metadata'"):

        class Greedy(DomainEvent):
            metadata: str  # type: ignore[assignment]

    with pytest.raises(DefinitionError, match="version=0"):

        class Early(DomainEvent, version=0):
            pass
