"""From where on the checks of PostgreSQL's upkeep warn."""

from dataclasses import replace

import pytest

from events.diagnosis.dead_rows import is_full, reason
from events.diagnosis.old_snapshots import Holder
from events.diagnosis.upkeep import LIMITS, TableStatistics, lasted

HOUR = 3600.0
TABLE = TableStatistics(
    name="event_deliveries", live=20_000_000, dead=0, begins_at=4_000_050.0, enabled=True, vacuumed=HOUR,
    running=False, age=1, oldest_age=200_000_000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("live", "dead", "begins_at", "vacuumed", "full"),
    [
        (0, 49_999, 50, None, False),  # few don't matter
        (0, 50_000, 50, 1.0, True),  # nearly the whole table is dead
        (125_000, 50_000, 25_050, 1.0, True),
        (126_000, 50_000, 25_250, 1.0, False),  # autovacuum has just begun to find it worth its while
        (20_000_000, 999_999, 4_000_050, None, False),
        (20_000_000, 1_000_000, 4_000_050, 1.0, True),  # many, in a table of any size
        (20_000_000, 60_000, 20_000, HOUR, True),  # three times what autovacuum was told to begin at
        (20_000_000, 60_000, 20_000, None, True),
        (20_000_000, 60_000, 20_000, HOUR - 1, False),  # the last was a moment ago
        (20_000_000, 60_000, 20_001, HOUR, False),
    ],
)
def test_which_tables_have_too_many_dead_rows(
    live: int, dead: int, begins_at: float, vacuumed: float | None, full: bool
) -> None:
    table = replace(TABLE, live=live, dead=dead, begins_at=begins_at, vacuumed=vacuumed)
    assert is_full(table, LIMITS) == full


def test_a_vacuum_that_runs_is_waited_for() -> None:
    why, cure = reason(replace(TABLE, dead=9_000_000, running=True), held=False, hidden=False, on=True)
    assert why == "a VACUUM runs"
    assert cure.startswith("wait for its end")


@pytest.mark.parametrize(
    ("seconds", "transactions", "old"),
    [
        (299.0, 1_000_000, False),
        (300.0, 1, True),
        (3000.0, 0, False),  # nothing began since: it keeps nothing
        (None, 99_999, False),
        (None, 100_000, True),  # nobody knows since when
    ],
)
def test_which_snapshots_are_old(seconds: float | None, transactions: int, old: bool) -> None:
    assert Holder("told", "cure", transactions, seconds).is_old(LIMITS) == old


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119.0, "119 s"), (300.0, "5 min"), (7199.0, "120 min"), (7200.0, "2 h"), (864_000.0, "10 days")],
)
def test_times_are_told_in_words_that_people_use(seconds: float, words: str) -> None:
    assert lasted(seconds) == words
