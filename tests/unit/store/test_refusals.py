"""What is said of a database that refuses us: in one line, with the cure for it."""

import pytest
from sqlalchemy.exc import DBAPIError, ProgrammingError

from events.store.schema import postgres_schema as place
from events.store.schema.refusals import cure_of, explained


class Refused(Exception):
    """As a driver raises it."""

    def __init__(self, said: str, sqlstate: str | None = None) -> None:
        super().__init__(said)
        self.sqlstate = sqlstate


def refused(said: str, sqlstate: str | None = None) -> DBAPIError:
    return ProgrammingError("SELECT 1", {}, Refused(said, sqlstate))


def test_who_tries_again_and_again_is_told_the_cure_in_the_same_line() -> None:
    said = explained(refused("permission denied for table event_store\nHINT: none", "42501"), "shop")
    assert said.endswith("permission denied for table event_store; "
                         "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop")  # fmt: skip
    assert "\n" not in said
    # And of what has no cure, or is no refusal, what it says
    assert explained(refused("division by zero")).endswith("division by zero")
    assert explained(ValueError("postgresql://u:secret@h/x\nand more")) == "postgresql://u:***@h/x"


def test_a_long_error_leaves_room_for_its_cure() -> None:
    assert explained(refused(f"permission denied for table {'x' * 1000}", "42501"), "shop").endswith(" TO shop")


def test_rights_are_for_the_schema_that_the_ledger_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_schema", "ledger")
    assert "IN SCHEMA ledger TO its role" in cure_of(refused("permission denied for table event_store", "42501"))


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("bad value for connect_timeout: 'x'", "connect_timeout"),
        ('invalid integer value "x" for connection option "keepalives_idle"', "keepalives_idle"),
        ('invalid channel_binding value: "x"', "channel_binding"),
        ('FATAL: invalid value for parameter "search_path": "x"', "search_path"),
        ('FATAL: unrecognized configuration parameter "shop.tenant"', "shop.tenant"),
    ],
)
def test_an_option_whose_value_is_wrong_is_named(said: str, option: str) -> None:
    assert cure_of(refused(said)) == f"mend the option {option} in it"
