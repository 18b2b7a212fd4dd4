"""What a text of SQL does besides reading and writing rows, whatever stands around it."""

import pytest

from events.store.database.statement_effects import Touch, touch_of

QUIET = [
    "CREATE OR REPLACE VIEW v AS SELECT 1",
    "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS $$SET ROLE bob$$",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END",
    "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET x = 1; END",
    "CREATE TABLE template (x int)",
    "INSERT INTO a VALUES ('COMMIT; SET ROLE bob')",
    'SELECT 1 AS "SET ROLE bob; COMMIT"',
    r"SELECT E'it\'s; COMMIT'",
    "UPDATE settings SET setting = 1",
    "SELECT * FROM pg_settings",
    "SELECT 1 /* /* COMMIT; */ ; COMMIT; */",
]
TOUCHES = [
    ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", Touch.CONNECTION),
    ("CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET x = 1; END", Touch.CONNECTION),
    ("CREATE TABLE temp.scratch (x int)", Touch.CONNECTION),
    ("CREATE TEMP TABLE t (x int) ON COMMIT DROP", Touch.TRANSACTION),
    ("SET LOCAL app.x = 'a'", Touch.TRANSACTION),
    ("SET ROLE bob", Touch.CONNECTION),
    ("UPDATE pg_settings SET setting = '1' WHERE name = 'x'", Touch.CONNECTION),
    ("SELECT txid_current()", Touch.TRANSACTION),
    ("SELECT pg_current_xact_id()::text", Touch.TRANSACTION),
    ("COMMIT", Touch.END),
    ("SELECT \"set_config\"('a', 'b', true)", Touch.TRANSACTION),
]


@pytest.mark.parametrize("statement", QUIET)
def test_words_that_mean_nothing_where_they_stand(statement: str) -> None:
    assert touch_of(statement, None, {}) is Touch.NOTHING


@pytest.mark.parametrize("quiet", QUIET)
@pytest.mark.parametrize(("statement", "touch"), TOUCHES)
def test_what_touches_is_seen_before_and_after_what_does_not(quiet: str, statement: str, touch: Touch) -> None:
    assert touch_of(statement, None, {}) is touch
    assert touch_of(f"{statement}; {quiet}", None, {}) is touch
    assert touch_of(f"{quiet}; {statement}", None, {}) is touch
