"""A table fits its terminal, and breaks no word, name, id or number."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from events.cli.tables import GAP, INDENT, Column, Layout

LETTERS = {
    "event id": UUID(int=2**127), "event": "OrderPlacedByWholesaler", "handler": "library.handlers.feed.add_to_feed",
    "attempts": 5, "died (UTC)": "2026-01-31 08:00:00", "error": "SoldOut: there is no more spice in Arrakis Central",
}  # fmt: skip


def drawn(columns: Sequence[Column], rows: Sequence[Sequence[Sequence[str]]], width: int) -> list[str]:
    layout = Layout(columns, rows, width)
    return [*layout.header(), *(line for row in rows for line in layout.row(row))]


def example(width: int) -> list[str]:
    columns = [Column(name, right=name == "attempts", wraps=name == "error") for name in LETTERS]
    return drawn(columns, [[[str(value)] for value in LETTERS.values()]], width)


def test_what_fits_is_one_line_a_row() -> None:
    header, row = example(200)
    assert header.split(GAP)[0] == "event id"
    assert all(str(value) in row for value in LETTERS.values())


def test_what_does_not_fit_is_taken_out_of_the_grid() -> None:
    assert example(80) == [
        "event id                              handler"[:8] + GAP + "handler",
        INDENT + "event" + " " * 20 + "attempts  died (UTC)",
        INDENT + "error",
        "80000000-0000-0000-0000-000000000000  library.handlers.feed.add_to_feed",
        INDENT + "OrderPlacedByWholesaler  " + "       5  2026-01-31 08:00:00",
        INDENT + "SoldOut: there is no more spice in Arrakis Central",
    ]


def test_a_text_is_broken_between_words_in_its_column() -> None:
    columns = [Column("check"), Column("found", wraps=True)]
    lines = drawn(columns, [[["queue"], ["one two three four five six seven eight"]]], 32)
    assert lines == ["check  found", "queue  one two three four five", "       six seven eight"]


def test_numbers_that_do_not_fit_keep_their_names() -> None:
    columns = [Column("handler"), *(Column(name, right=True) for name in ("pending", "succeeded", "dead"))]
    lines = drawn(columns, [[["hear"], ["1"], ["1,234,567"], ["3"]]], 20)
    assert "succeeded 1,234,567" in " ".join(lines)
    assert all(cell_len(line) <= 22 for line in lines)


def test_a_cell_may_have_several_lines_and_wide_letters() -> None:
    columns = [Column("event"), Column("fields")]
    lines = drawn(columns, [[["\u65e5\u672c"], ["a", "b"]], [["x"], []]], 80)
    assert lines == ["event  fields", "\u65e5\u672c   a", "       b", "x"]


words = st.text("abcdefgh0123456789-._", min_size=1, max_size=45)
texts = st.lists(words, max_size=12).map(" ".join)


@given(
    st.lists(st.tuples(words, st.sampled_from(["name", "number", "text"])), min_size=1, max_size=9),
    st.integers(20, 200),
    st.data(),
)
def test_no_word_is_ever_broken_or_lost(kinds: list[tuple[str, str]], width: int, data: st.DataObject) -> None:
    columns = [Column(name, right=kind == "number", wraps=kind == "text") for name, kind in kinds]
    cell = {"name": words, "number": st.integers(0, 10**9).map("{:,}".format), "text": texts}
    rows = [[[data.draw(cell[kind])] for _, kind in kinds] for _ in range(3)]
    lines = drawn(columns, rows, width)
    shown = " ".join(lines).replace(":", " ").split()
    for row in rows:
        for column in row:
            assert set(column[0].split()) <= {*shown, ""}
    longest = max(len(word) for row in rows for column in row for word in ("", *column[0].split()))
    named = max(len(name) for name, _ in kinds)
    for line in lines:  # wider is only what can't be broken: a word, with the name of its column
        assert cell_len(line) <= max(width, len(INDENT) + max(longest, named) + named + 2)


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_usual_terminals(width: int) -> None:
    assert max(map(cell_len, example(width))) <= width
