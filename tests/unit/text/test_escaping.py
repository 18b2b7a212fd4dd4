"""What others wrote is fit for a terminal: it can't command it, forge a line, or turn the writing round."""

import json
import logging
import unicodedata
from collections.abc import Callable

import pytest
from celery.utils.log import ColorFormatter
from hypothesis import given
from hypothesis import strategies as st

from events.cli.output import as_json
from events.monitoring.plain_logs import PlainFormatter
from events.text.escaping import printable

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07 \x9b31m \r\n2026-01-01 ERROR forged \u202egnp.exe \u2066x\u2069 \u2028 \x00\x7f \ud800"
)
anything = st.text(st.characters(), max_size=60)  # halves of surrogate pairs among it


@given(anything | st.just(HOSTILE))
def test_nothing_is_left_that_a_terminal_would_obey_or_hide(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not {unicodedata.category(one) for one in shown if one not in "\u200c\u200d"} & {
        "Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp",
    }  # fmt: skip
    assert len(shown.splitlines()) <= 1


@given(anything)
def test_what_is_fit_stays_as_it_is(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    "text",
    [
        "Käse für 5\u00a0€",
        "日本語",
        "\u0646\u0627\u0645\u200c\u0647\u0627",
        "👩\u200d👩\u200d👧 family",
        "x[/y] [bold]b[/] :smile:",
        "C:\\new\\table",
    ],
)
def test_every_writing_is_left_alone(text: str) -> None:
    assert printable(text) == text


def test_what_is_written_out_says_what_it_was() -> None:
    assert printable("a\x1b[1mb\n\tc\u202e\U000e0041\ud800") == r"a\x1b[1mb\n\tc\u202e\U000e0041\ud800"
    assert printable("Traceback:\n\tline\r\x1b", lines=True) == "Traceback:\n\tline\\r\\x1b"


@given(st.dictionaries(anything, anything) | st.just({"subject": HOSTILE}))
def test_json_keeps_the_true_values_and_commands_no_terminal(value: dict[str, str]) -> None:
    text = as_json(value, indent=2)
    assert json.loads(text) == value
    assert all(line == printable(line) for line in text.split("\n"))


def record(message: str, *arguments: object, logger: str = "events.bridges", **fields: object) -> logging.LogRecord:
    made = {"name": logger, "levelname": "ERROR", "levelno": 40, "msg": message, "args": arguments}
    return logging.makeLogRecord(made | fields)


def raised() -> BaseException:
    try:
        raise ValueError(f"no {HOSTILE}\nof redis://u:secret@h")
    except ValueError as error:
        return error


INNER: list[Callable[[], logging.Formatter | None]] = [
    lambda: None,
    lambda: logging.Formatter("%(levelname)s %(name)s: %(message)s"),
    lambda: ColorFormatter("%(levelname)s: %(message)s", use_color=False),
]


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("logger", ["events.bridges", "celery.app.trace"])
def test_a_log_line_can_not_be_forged(inner: Callable[[], logging.Formatter | None], logger: str) -> None:
    # Given a record with what others wrote in it, and with an error of theirs
    error = raised()
    one = record("a message of %s, %d", HOSTILE, 5, logger=logger, exc_info=(type(error), error, error.__traceback__))
    # When it is formatted, then it begins one line, and the others are indented
    first, *others = PlainFormatter(inner()).format(one).split("\n")
    assert "a message of" in first
    assert others
    assert all(line.startswith("  ") for line in others)
    assert all(line == printable(line) for line in (first, *others))
    # And no secret is in it, while the record is as it was for other handlers
    assert "secret" not in "".join(others)
    assert one.getMessage() == f"a message of {HOSTILE}, 5"
    assert one.exc_text is None


def test_an_application_colours_its_own_lines_and_tells_no_secrets() -> None:
    said = PlainFormatter(None).format(record("\x1b[32mgreen\x1b[0m\nredis://u:secret@h", logger="shop"))
    assert said == "\x1b[32mgreen\x1b[0m\nredis://u:***@h"


def test_what_can_not_be_formatted_is_complained_of_as_ever() -> None:
    with pytest.raises(TypeError):
        PlainFormatter(None).format(record("%d", "x"))
