"""Fields that an event's class masks are shown to nobody, wherever the event is shown."""

import json
import re
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from events import DefinitionError, DomainEvent, EventDataError
from events.bridges.cloudevents import outgoing
from events.ledger.codec import decode, encode
from events.ledger.envelope import Envelope
from events.ledger.masking import HIDDEN, mask, mask_foreign, without

SECRET = "DE89370400440532013000"


class Transferred(DomainEvent, aggregate_id="account", masked=("iban", "card.number", "people.name")):
    account: str
    iban: str
    card: dict[str, str]
    people: list[dict[str, str]] = []  # noqa: RUF012 - pydantic copies it


class TransferredTwice(Transferred, masked="reason"):
    reason: str = "because"


def event() -> Transferred:
    return Transferred(account="a", iban=SECRET, card={"number": "4111", "kind": "x"}, people=[{"name": "Ann"}])


def test_handlers_get_the_true_values_and_people_do_not() -> None:
    # Given an event with masked fields, as it is stored
    stored = encode(event(), max_bytes=10_000)
    # Then whoever reads it gets all of it
    assert decode(stored).iban == SECRET  # type: ignore[attr-defined]
    # And people are shown stars, in nested fields and lists, too
    shown = json.loads(mask(stored.event_data, stored.metadata, stored.event_type, {}))
    assert shown == {
        "account": "a", "iban": "***", "card": {"number": "***", "kind": "x"}, "people": [{"name": "***"}],
    }  # fmt: skip


def test_an_event_says_itself_what_is_masked_where_its_class_is_not_loaded() -> None:
    stored = encode(event(), max_bytes=10_000)
    assert SECRET not in mask(stored.event_data, stored.metadata, "unknown here", {})


def test_an_event_of_another_program_is_masked_by_what_its_handlers_know() -> None:
    assert mask('{"iban": "x", "n": 1}', "{}", "Foreign", {"Foreign": {"iban"}}) == '{"iban": "***", "n": 1}'
    assert mask('{"iban": "x"}', "{}", "Foreign", {}) == '{"iban": "x"}'


@pytest.mark.parametrize(
    "data", ["no json", '["iban"]', "null", '"text"', '{"iban": null}', '{"iban": {"a": 1}}', "{}"]
)
def test_whatever_the_data_looks_like_nothing_breaks_and_nothing_leaks(data: str) -> None:
    assert mask(data, "{}", "T", {"T": {"iban"}}) in {
        "***", '["iban"]', "null", '"text"', '{"iban": "***"}', "{}",
    }  # fmt: skip


@pytest.mark.parametrize("metadata", ["", "{", '{"masked": 7}', '{"masked": [7]}', '["masked"]'])
def test_metadata_that_makes_no_sense_masks_nothing(metadata: str) -> None:
    assert mask('{"n": 1}', metadata, "T", {}) == '{"n": 1}'


def test_a_foreign_message_is_masked_whatever_event_it_may_be() -> None:
    declared = {"Foreign": {"iban"}, "Other": set[str]()}
    for body in ('{"iban": "x", "n": 1}', '{"specversion": "1.0", "data": {"iban": "x"}}', "iban=x",
                 '{"specversion": "1.0", "data_base64": "x"}'):  # fmt: skip
        shown = mask_foreign(body.encode(), declared).decode()
        assert '"x"' not in shown
        assert "=x" not in shown
        assert HIDDEN in shown


def test_base_classes_masks_hold_for_their_children() -> None:
    assert TransferredTwice.masked_fields == ("iban", "card.number", "people.name", "reason")


def test_the_text_of_an_event_hides_them() -> None:
    assert SECRET not in repr(event())
    assert SECRET not in str(event())
    assert "account='a'" in repr(event())


def test_an_error_about_such_an_event_does_not_quote_it() -> None:
    # Given stored data that its class refuses
    for data in (f'{{"account": 1, "iban": ["{SECRET}"]}}', f'"{SECRET}"'):
        broken = Envelope(uuid4(), "a", "Transferred", data, 1, datetime.now(UTC), 1, "{}")
        with pytest.raises(EventDataError) as refused:
            decode(broken)
        # Then neither the error nor its traceback has it
        assert SECRET not in "".join(traceback.format_exception(refused.value))
    # And so it is when the event is made
    with pytest.raises(ValidationError) as invalid:
        Transferred(account="a", iban=[SECRET], card={})  # type: ignore[arg-type]
    assert SECRET not in str(invalid.value)


def test_a_field_that_is_not_there_or_is_the_aggregates_id_cannot_be_masked() -> None:
    with pytest.raises(DefinitionError, match="has no such field"):

        class Wrong(DomainEvent, masked=("ibn",)):
            iban: str

    with pytest.raises(DefinitionError, match="column of its own"):

        class Keyed(DomainEvent, aggregate_id="iban", masked=("iban",)):
            iban: str


class Karte(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    card_number: str
    kind: str = "x"


@dataclass
class Owner:
    name: str
    since: int = 0


class Aliased(DomainEvent, masked=("iban", "card.card_number", "cards.card_number", "by_name.any.card_number",
                                   "owner.name", "raw.secret", "later.card_number")):  # fmt: skip
    model_config = ConfigDict(populate_by_name=True)

    iban: str = Field(SECRET, validation_alias=AliasChoices("IBAN", AliasPath("bank", "iban")))
    card: Karte = Field(Karte(card_number=SECRET), alias="Karte")
    cards: list[Karte] = Field([Karte(card_number=SECRET)], serialization_alias="Karten")
    by_name: dict[str, Karte] = {"any": Karte(card_number=SECRET)}  # noqa: RUF012 - pydantic copies it
    owner: Owner | None = Owner(SECRET)
    raw: dict[str, Any] = {"secret": SECRET}  # noqa: RUF012 - pydantic copies it
    later: "Later" = Field(default_factory=lambda: Later(card_number=SECRET))
    shown: str = "shown"


class Later(Karte):
    """Named before it is there."""


class AliasedByAlias(Aliased):
    model_config = ConfigDict(serialize_by_alias=True)


@pytest.mark.parametrize("kind", [Aliased, AliasedByAlias])
@pytest.mark.parametrize("by_alias", [False, True])
def test_whatever_a_masked_field_is_called_it_is_hidden(kind: type[Aliased], by_alias: bool) -> None:
    # Given an event as we write it, or as others do, by names or by aliases
    event = kind()
    data = event.model_dump_json(by_alias=by_alias, exclude={"event_id", "occurred_at", "metadata"})
    assert data.count(SECRET) == 7
    whole = '{"specversion": "1.0", "data": ' + data + "}"
    # Then nobody is shown what is masked, and all see what is not
    for shown in (mask(data, "{}", kind.event_name, {}), mask(data, "{}", "T", {"T": kind.masked_fields}),
                  mask_foreign(whole.encode(), {}).decode()):  # fmt: skip
        assert SECRET not in shown
        assert '"shown"' in shown
    # And no bridge sends it
    for form in ("flat", "structured", "webhook"):
        sent = outgoing(event, "/us", form=form).body.decode()
        assert SECRET not in sent
        assert '"shown"' in sent


@pytest.mark.parametrize("key", ["IBAN", "iban", "bank"])
def test_a_foreign_row_by_any_alias_is_masked(key: str) -> None:
    assert SECRET not in mask(json.dumps({key: SECRET}), "{}", "Aliased", {})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("card.number", "'card' has nothing named 'number'"),
        ("cards.kindd", "'cards' has nothing named 'kindd'"),
        ("by_name.any.number", "'by_name.any' has nothing named 'number'"),
        ("owner.nam", "'owner' has nothing named 'nam'"),
        ("shown.x", "'shown' has nothing named 'x'"),
        ("IBAN", "has no such field"),
    ],
)
def test_a_misspelt_mask_is_found_at_every_level(wrong: str, why: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(why)):
        type("Misspelt", (Aliased,), {"__module__": __name__}, masked=(wrong,))


@pytest.mark.parametrize("times", [1, 2])
def test_data_that_is_a_string_of_json_is_masked_as_the_object_in_it(times: int) -> None:
    # Given an event of which an ORM has made a string, once or twice
    data = '{"iban": "' + SECRET + '", "n": 1}'
    for _ in range(times):
        data = json.dumps(data)
    # Then it is shown as what it is, without what is masked
    assert mask(data, "{}", "Foreign", {"Foreign": {"iban"}}) == '{"iban": "***", "n": 1}'
    assert json.loads(mask(data, "{}", "Foreign", {})) == {"iban": SECRET, "n": 1}
    assert without(data, ["iban"]) == '{"n": 1}'
    # And so it is in a message of somebody else's, or in the data of a CloudEvent
    for body in (data, json.dumps({"specversion": "1.0", "data": data})):
        shown = mask_foreign(body.encode(), {"Foreign": {"iban"}}).decode()
        assert SECRET not in shown
        assert '"n": 1' in shown


@pytest.mark.parametrize("data", [f'"iban={SECRET}"', json.dumps(f'[{{"iban": "{SECRET}"}}]'), f'"{{iban: {SECRET}}}"'])
def test_a_string_that_holds_no_object_is_hidden_altogether(data: str) -> None:
    assert mask(data, "{}", "Foreign", {"Foreign": {"iban"}}) == HIDDEN
    assert mask_foreign(data.encode(), {"Foreign": {"iban"}}).decode() == HIDDEN


def test_half_a_surrogate_pair_in_a_string_of_json_can_be_printed() -> None:
    assert mask(r'"{\"n\": \"\ud800\"}"', "{}", "Foreign", {}).encode() == rb'{"n": "\ud800"}'
