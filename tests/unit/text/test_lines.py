"""Of an error that goes on for many lines, the first says what it is."""

import pytest

from events.text.lines import first_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one", "one"),
        ("one\ntwo\nthree", "one"),
        ("\n  one\ntwo", "one"),
        (ValueError("one\ntwo"), "one"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_it_is_the_first_line_that_has_something_in_it(text: object, line: str) -> None:
    assert first_line(text) == line
