"""The ledger in SQL, for SQLite and PostgreSQL: this package keeps the contracts of events.ledger.

`tables` says what is stored. A file here keeps one contract of those that publish, relay and deliver: `event_log`,
`subscriptions`, `outbox`, `recovery`, `inbox`, `workers`, `traces`. `operating/` keeps the contracts of operators,
`schema/` creates, updates and adopts the tables, and `database/` holds the differences between databases and drivers.

May import: publishing, ledger, settings and the words below. Open first: `tables`, then `event_log` and `inbox`.
"""

from events.store.awaited.engines import check_driver
from events.store.database.files import beside, file_of
from events.store.database.framework_cursors import cursor_of
from events.store.database.pooler import Pooler, check_listening, pooler_of
from events.store.database.pools import BACKGROUND, handlers_at_once, room
from events.store.database.types import Id
from events.store.database.watched_postgres import WatchedPostgres
from events.store.database.watched_sqlite import WatchedSqlite
from events.store.opening import Ledger, open_ledger
from events.store.schema import postgres_schema
from events.store.schema.emptying import empty
from events.store.schema.migrating import VERSION_TABLE, check_schema, migrate, pending
from events.store.schema.refusals import cure_of, reason_of, refusal
from events.store.schema.sql_script import migration_sql
from events.store.tables import event_deliveries, event_store, metadata

__all__ = [
    "BACKGROUND",
    "VERSION_TABLE",
    "Id",
    "Ledger",
    "Pooler",
    "WatchedPostgres",
    "WatchedSqlite",
    "beside",
    "check_driver",
    "check_listening",
    "check_schema",
    "cure_of",
    "cursor_of",
    "empty",
    "event_deliveries",
    "event_store",
    "file_of",
    "handlers_at_once",
    "metadata",
    "migrate",
    "migration_sql",
    "open_ledger",
    "pending",
    "pooler_of",
    "postgres_schema",
    "reason_of",
    "refusal",
    "room",
]
