"""What the checks of PostgreSQL's upkeep have in common: their limits, and what the server counts of our tables.

All is read from the catalog and the statistics, so that it costs the same for any number of rows, and no statement
waits for a lock on a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text

from events.pipeline import Pipeline
from events.store import metadata, postgres_schema
from events.text import plural


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on the checks warn."""

    age: timedelta = timedelta(minutes=5)  # of a transaction that keeps dead rows
    transactions: int = 100_000  # that began since a snapshot of unknown age
    dead: int = 50_000  # dead rows of a table: fewer don't matter
    dead_share: float = 0.4  # of the living rows: autovacuum begins at 0.2
    dead_at_most: int = 1_000_000  # in a table of any size
    overdue: float = 3.0  # times the number of dead rows at which autovacuum begins
    unvacuumed: timedelta = timedelta(hours=1)  # since the last VACUUM of a table that is overdue
    frozen_share: float = 0.95  # of the age at which autovacuum reads the whole table, whatever runs
    wraparound: int = 1_600_000_000  # transactions; PostgreSQL stops short of 2**31
    bloat: float = 4.0  # times the size that an index needs
    wasted: int = 64 * 2**20  # bytes of an index beyond what it needs


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """What PostgreSQL knows of one of our tables."""

    name: str  # as SQL has it
    live: int
    dead: int
    begins_at: float  # the number of dead rows at which autovacuum begins
    enabled: bool  # whether the table's own autovacuum_enabled leaves autovacuum on
    vacuumed: float | None  # seconds since the last VACUUM, by whomever; None: not since the statistics began
    running: bool  # whether a VACUUM of the table runs
    age: int  # of the oldest transaction id in the table, or of the oldest multixact id, whichever is nearer its limit
    oldest_age: int  # at which autovacuum reads the whole table


_NAMED = "SELECT option_value FROM pg_catalog.pg_options_to_table(c.reloptions) WHERE option_name = '{name}'"
_TABLES = """
    SELECT c.oid::regclass::text AS name,
        pg_stat_get_live_tuples(c.oid) AS live, pg_stat_get_dead_tuples(c.oid) AS dead,
        ({threshold} + {scale} * greatest(c.reltuples, 0))::float8 AS begins_at,
        {enabled} AS enabled,
        extract(epoch FROM clock_timestamp() - greatest(pg_stat_get_last_vacuum_time(c.oid),
            pg_stat_get_last_autovacuum_time(c.oid)))::float8 AS vacuumed,
        c.oid IN (SELECT relid FROM pg_catalog.pg_stat_progress_vacuum) AS running,
        greatest(age(c.relfrozenxid), age(toast.relfrozenxid)) AS age, {oldest} AS oldest_age,
        greatest(mxid_age(c.relminmxid), mxid_age(toast.relminmxid)) AS multi_age, {oldest_multi} AS oldest_multi_age
    FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class toast ON toast.oid = c.reltoastrelid
    WHERE c.relkind = 'r' AND c.oid = ANY (ARRAY[{ours}]::oid[])
    ORDER BY c.relname"""


def on_primary(pipeline: Pipeline) -> bool:
    """Whether the ledger is on a PostgreSQL server that counts dead rows and VACUUMs, as a standby doesn't."""
    if pipeline.ledger.engine.dialect.name == "sqlite":
        return False
    return not value(pipeline, "SELECT pg_is_in_recovery()")


def tables(pipeline: Pipeline) -> list[TableStatistics]:
    """The statistics of our tables. Only PostgreSQL has any."""
    query = _TABLES.format(
        threshold=_option("autovacuum_vacuum_threshold", "float8"),
        scale=_option("autovacuum_vacuum_scale_factor", "float8"),
        enabled=f"coalesce(({_NAMED.format(name='autovacuum_enabled')})::bool, true)",
        oldest=_oldest("autovacuum_freeze_max_age"),
        oldest_multi=_oldest("autovacuum_multixact_freeze_max_age"),
        ours=ours(),
    )
    return [_table(row) for row in rows(pipeline, query)]


def _table(row: Row[Any]) -> TableStatistics:
    ages = [(row.age, row.oldest_age), (row.multi_age, row.oldest_multi_age)]
    age, oldest_age = max(ages, key=lambda of: of[0] / of[1])
    return TableStatistics(
        row.name, row.live, row.dead, row.begins_at, row.enabled, row.vacuumed, row.running, age, oldest_age
    )


def ours() -> str:
    """The ids of our tables, for a list in SQL. Those of tables that don't exist are NULL."""
    return ", ".join(f"to_regclass('{postgres_schema.named(name)}')" for name in sorted(metadata.tables))


def rows(pipeline: Pipeline, query: str, **parameters: object) -> Sequence[Row[Any]]:
    with pipeline.ledger.engine.connect() as connection:
        return connection.execute(text(query), parameters).all()


def value(pipeline: Pipeline, query: str, **parameters: object) -> Any:
    """The first value of the first row."""
    return rows(pipeline, query, **parameters)[0][0]


def lasted(seconds: float) -> str:
    """A time that people can read: "41 s", "12 min", "3 h", "5 days"."""
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 120 * length:
            return f"{seconds / length:.0f} {unit}"
    return plural(round(seconds / 86_400), "day")


def _option(name: str, kind: str) -> str:
    """The table's own value of a setting, or the server's."""
    return f"coalesce(({_NAMED.format(name=name)}), current_setting('{name}'))::{kind}"


def _oldest(name: str) -> str:
    """The age at which autovacuum reads the whole table: its own setting may lower that of the server."""
    return f"least({_option(name, 'int8')}, current_setting('{name}')::int8)"
