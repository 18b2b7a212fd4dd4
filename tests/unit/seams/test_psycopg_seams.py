"""What of psycopg's inside we lean on, so that a statement takes along what waits on its connection."""

import psycopg
from psycopg._connection_base import BaseConnection
from psycopg._cursor_base import BaseCursor
from psycopg._preparing import Prepare, PrepareManager

from events.store.database.riding import CARRIES, Carrier, TakingCursor
from support.seam_checks import Library

PSYCOPG = Library("psycopg")
LEANS = "a delivery's savepoint, which goes out with its handler's first statement"


def test_the_installed_release_is_one_whose_inside_is_known() -> None:
    PSYCOPG.keeps(CARRIES, "its release is named in riding.CARRIES, and its libpq has pipelines", LEANS)


def test_every_statement_begins_by_one_method() -> None:
    PSYCOPG.takes(psycopg.Connection, "_start_query", [], LEANS)
    PSYCOPG.has(psycopg.Connection, "_get_tx_start_command", LEANS)
    for owner, name in [
        (BaseCursor, "_execute_gen"), (BaseCursor, "_executemany_gen_pipeline"), (BaseCursor, "_stream_send_gen"),
        (BaseCursor, "_start_copy_gen"), (psycopg.ServerCursor, "_declare_gen"),
    ]:  # fmt: skip
        PSYCOPG.says(PSYCOPG.has(owner, name, LEANS), "self._start_query(", leans=LEANS)
    PSYCOPG.says(BaseCursor._start_query, "self._conn._start_query()", leans=LEANS)
    PSYCOPG.says(psycopg.Cursor.executemany, "self._conn._pipeline_nolock()", leans=LEANS)


def test_a_statement_is_sent_and_its_results_are_taken_by_these_methods() -> None:
    PSYCOPG.says(
        BaseCursor._maybe_prepare_gen,
        "self._get_prepared(pgq, prepare)",
        "self._conn._prepared.maybe_add_to_cache(pgq, prep, name)",
        "self._conn._prepared.validate(key, prep, name, results)",
        "self._check_results(results)",
        "self._set_results(results)",
        leans=LEANS,
    )
    PSYCOPG.takes(BaseCursor, "_execute_send", ["query", "force_extended", "binary"], LEANS)
    PSYCOPG.takes(BaseCursor, "_send_query_prepared", ["name", "pgq", "binary"], LEANS)
    PSYCOPG.takes(PrepareManager, "validate", ["key", "prep", "name", "results"], LEANS)
    PSYCOPG.keeps({"NO", "YES", "SHOULD"} == set(Prepare.__members__), "there are three ways to prepare", LEANS)


def test_a_connection_says_what_it_is_doing() -> None:
    for attribute in ("self._autocommit", "self._pipeline", "self._prepared"):
        PSYCOPG.says(BaseConnection.__init__, attribute, leans=LEANS)
    PSYCOPG.has(psycopg.pq.PGconn, "_encoding", LEANS)
    PSYCOPG.keeps("_pgconn" in vars(BaseCursor) or "_pgconn" in BaseCursor.__slots__, "a cursor has _pgconn", LEANS)


def test_ours_override_what_is_there() -> None:
    for ours, theirs in [(Carrier, psycopg.Connection), (TakingCursor, psycopg.Cursor)]:
        for name in vars(ours):
            if name.startswith("_") and not name.startswith("__") and name not in ("_takes_along", "_together"):
                PSYCOPG.keeps(hasattr(theirs, name), f"{theirs.__name__} has {name}", LEANS)
