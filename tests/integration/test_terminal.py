"""What the commands show: on a terminal of 80 or 120 columns, in a pipe, and of what others wrote."""

import pytest
from rich.cells import cell_len

from events.ledger.parked import ParkedFilter
from events.text.escaping import printable
from support.operator import Operator
from support.shelf import EVENTS, HANDLERS, PLACE, fill, publish
from support.store import Store
from support.terminal import Terminal

NOISE = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\nforged \u202egnp [/y][bold]\tx :smile: \u2028\x7f"
TABLES = ["status", "dead groups", "dead groups --discarded", "dead list", "dead list --discarded", "handlers list",
          "find", "unhandled list", "parked list", "parked list --discarded", "doctor", "catalog"]  # fmt: skip
NAMED = {"status": (*HANDLERS, *EVENTS), "dead groups": (*HANDLERS, PLACE), "dead list": (*HANDLERS, *EVENTS[:2]),
         "handlers list": (*HANDLERS, *EVENTS), "find": EVENTS, "doctor": HANDLERS, "catalog": EVENTS}  # fmt: skip


def fits(shown: str, columns: int) -> bool:
    """Wider is only what is one word, such as a path."""
    return all(cell_len(line) <= columns or len(line.split()) == 1 for line in shown.splitlines())


@pytest.mark.parametrize("columns", [80, 120])
def test_no_name_is_broken_on_a_terminal(store: Store, columns: int) -> None:
    # Given long names, such as real applications have
    ids = fill(store)
    terminal = Terminal(store.url, columns, EVENTS_HANDLERS="colorsys")
    # When somebody looks at what there is
    for command in TABLES:
        shown = terminal.runs(*command.split()).stdout
        # Then each line fits, and every name and id stands in one piece
        assert fits(shown, columns), shown
        assert all(name in shown for name in NAMED.get(command, ())), shown
        if command in ("dead list", "find"):
            assert all(str(event_id) in shown for event_id in ids[:2]), shown
    for page in (("show", ids[0]), ("dead", "show", ids[0])):
        shown = terminal.sees(*page)
        assert fits(shown, columns), shown
        assert all(name in shown for name in (*HANDLERS, str(ids[0]), EVENTS[0])), shown


def test_a_pipe_gets_lines_of_titles_and_rows_with_nothing_cut(store: Store) -> None:
    fill(store)
    operator = Operator(store.url, EVENTS_HANDLERS="colorsys", COLUMNS="20", FORCE_COLOR="1")
    for command in TABLES:
        if command == "status":
            continue
        done = operator.runs(*command.split())
        header, *rows = done.stdout.splitlines()
        assert rows, done
        assert {row.count("\t") for row in rows} == {header.count("\t")}
        assert not any(sign in done.stdout for sign in ("─", "│", "\x1b", "…", "next:"))
    assert operator.sees("find").splitlines()[0].split("\t") == ["event id", "event", "aggregate", "published (UTC)"]
    # And one that finds nothing still gets the titles
    nothing = operator.runs("dead", "list", "--handler", "nobody")
    assert nothing.stdout.splitlines() == ["event id\tevent\thandler\tattempts\tdied (UTC)\terror"]
    assert nothing.stderr.strip() == "no dead letters"
    # And the tables of a status stand between its lines
    told = operator.sees("status").splitlines()
    assert "event\tstored\tlast minute\terrors\tdead" in told
    assert f"{HANDLERS[0]}\tq\t0\t0\t0\t0\t2\t1\t0\t3" in told


def test_what_others_wrote_commands_no_terminal_and_no_pipe(store: Store) -> None:
    # Given names, data and errors that would clear the screen, colour it, forge lines, or are markup
    ids = fill(store, NOISE)
    (parked, *_) = store.ledger.parked.find(ParkedFilter())
    pages = [["show", ids[0], "--tracebacks"], ["dead", "show", ids[0]], ["parked", "show", parked.id],
             ["tail", "--once", "--since", "1h"], ["find", "--aggregate", f"order-17{NOISE}"],
             ["dead", "replay", ids[0], "--dry-run", "--handler", f"x{NOISE}"],
             ["handlers", "pause", f"nobody{NOISE}"], ["dead", "list", "--group", f"{NOISE}"]]  # fmt: skip
    terminal = Terminal(store.url, EVENTS_HANDLERS="colorsys", TERM="dumb")  # without colours of ours
    operator = Operator(store.url, EVENTS_HANDLERS="colorsys")
    for command in (*(table.split() for table in TABLES), *pages):
        # When they are shown on a terminal, or read by a program
        seen, read = terminal.runs(*command), operator.runs(*command)
        # Then all of it can be printed, and nothing fails
        for text in (seen.stdout, read.stdout, read.stderr):
            assert all(printable(line, lines=True) == line for line in text.split("\n")), (command, text)
            assert "Traceback (most" not in text, text
            assert not any(line.startswith("forged") for line in text.split("\n")), text
    # And it is there, written out; and JSON has the true values
    assert "[/y][bold]" in terminal.sees("find")
    assert r"order-17\x1b[2J" in operator.sees("find")
    raw = operator.sees("find", "--json")
    assert all(printable(line) == line for line in raw.split("\n"))
    assert f"order-17{NOISE}" in {one["aggregate_id"] for one in operator.gets("find")}  # type: ignore[attr-defined]


def test_what_a_terminal_has_no_letter_for_is_no_traceback(store: Store) -> None:
    publish(store, "Gr\u00fc\u00dfe", "\u65e5\u672c")
    operator = Operator(store.url, LC_ALL="en_US.ISO-8859-1", LANG="C", PYTHONUNBUFFERED="1")
    assert "Gr" in operator.sees("find")
    assert operator.gets("find")[0]["aggregate_id"] == "\u65e5\u672c"  # type: ignore[index]
