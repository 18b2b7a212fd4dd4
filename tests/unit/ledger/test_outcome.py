"""What went wrong, as it is stored. What a handler raised is in tests/unit/delivery/test_deliverer.py."""

import ast
from pathlib import Path

import pytest

import events
from events.errors import EventDataError, EventsError, Unsendable, WorkerLost
from events.ledger.outcome import failure_of, failure_without_trace
from events.ledger.records import Failure


@pytest.mark.parametrize("kind", [EventDataError, Unsendable, WorkerLost])
def test_an_error_of_our_own_is_stored_by_its_class_and_its_text(kind: type[EventsError]) -> None:
    # Given an error that was raised on the way, or never
    try:
        raise kind("of redis://ann:secret@h \x00")
    except EventsError as raised:
        errors = [raised, kind("of redis://ann:secret@h \x00")]
    # Then its row has the name that it always had, and no traceback
    stored = Failure(f"events.errors.{kind.__name__}", failure_of(errors[0]).error, "")
    assert [failure_without_trace(error) for error in errors] == [stored] * 2
    assert stored.error.startswith("of redis://ann:***@h")
    assert "\x00" not in stored.error


def test_no_name_of_an_error_is_written_by_hand() -> None:
    # When every text in the package is looked at that is nothing but a name
    package = Path(events.__file__).parent
    texts = [(path.name, node.value) for path in package.rglob("*.py")
             for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)]  # fmt: skip
    # Then none is that of an error of ours, which a rename of its class would leave behind
    assert len(texts) > 1000
    assert [text for text in texts if text[1].startswith("events.errors.") and " " not in text[1]] == []
