"""What of Django and psycopg lending leans on, as the installed versions have it."""

import psycopg
from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql import base as postgresql
from django.db.backends.sqlite3 import base as sqlite3
from psycopg._cursor_base import BaseCursor

from support.seam_checks import Library

DJANGO, PSYCOPG = Library("Django"), Library("psycopg")


def test_a_wrapper_knows_its_transaction_by_these_attributes() -> None:
    leans = "lending a delivery's connection"
    names = ("in_atomic_block", "autocommit", "atomic_blocks", "savepoint_ids", "needs_rollback", "rollback_exc")
    DJANGO.says(BaseDatabaseWrapper.__init__, *(f"self.{name} = " for name in names), leans=leans)
    DJANGO.says(
        transaction.Atomic.__enter__,
        "self.durable and connection.atomic_blocks and not connection.atomic_blocks[-1]._from_testcase",
        "if connection.in_atomic_block: # We're already in a transaction; create a savepoint",
        "connection.atomic_blocks.append(self)",
        leans=leans,
    )
    DJANGO.takes(transaction.Atomic, "__init__", ["using", "savepoint", "durable"], leans)


def test_hooks_are_kept_as_triples() -> None:
    DJANGO.says(
        BaseDatabaseWrapper.on_commit,
        "if self.in_atomic_block:",
        "self.run_on_commit.append((set(self.savepoint_ids), func, robust))",
        leans="on_commit() in handlers",
    )


def test_a_wrapper_makes_cursors_and_connects_by_these_methods() -> None:
    leans = "that nothing closes a handler's connection"
    DJANGO.says(BaseDatabaseWrapper._cursor, "self.ensure_connection()", "self.create_cursor(name)", leans=leans)
    DJANGO.says(BaseDatabaseWrapper.ensure_connection, "if self.connection is None:", "self.connect()", leans=leans)
    for name in ("close", "close_if_unusable_or_obsolete", "close_if_health_check_failed"):
        DJANGO.has(BaseDatabaseWrapper, name, leans)
    DJANGO.has(postgresql.DatabaseWrapper, "pool", leans)


def test_the_blocks_of_a_test_case_are_marked() -> None:
    DJANGO.says(
        transaction.Atomic.__init__, "self._from_testcase = False", leans="publish() in tests of several databases"
    )


def test_a_field_says_what_it_is_in_a_query() -> None:
    DJANGO.takes(models.Field, "get_col", ["alias", "output_field"], "the key of a delivery")


def test_backends_have_these_cursors() -> None:
    leans = "cursors in handlers"
    assert issubclass(DJANGO.has(postgresql, "ServerSideCursor", leans), psycopg.ServerCursor)
    assert issubclass(DJANGO.has(sqlite3, "SQLiteCursorWrapper", leans), sqlite3.Database.Cursor)
    DJANGO.says(sqlite3.DatabaseWrapper.create_cursor, "cursor(factory=SQLiteCursorWrapper)", leans=leans)


def test_a_cursor_has_adapters_of_its_own() -> None:
    leans = "cursors in handlers"
    PSYCOPG.says(BaseCursor.__init__, "self._adapters = adapt.AdaptersMap(connection.adapters)", leans=leans)
    PSYCOPG.says(BaseCursor.adapters.fget, "return self._adapters", leans=leans)
