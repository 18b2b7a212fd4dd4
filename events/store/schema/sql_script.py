"""The migrations as SQL, for people who run DDL by hand, or read it first."""

import io

from sqlalchemy import Connection, Engine

from events.errors import SchemaError
from events.store.schema.foreign_table import is_there
from events.store.schema.migrating import LOCK, configured, later_than, not_made_yet, refuse_a_second, revision_of
from events.store.schema.postgres_schema import schema

_BEGIN = {"postgresql": f"BEGIN;\n\nSELECT pg_advisory_xact_lock({LOCK});", "sqlite": "BEGIN IMMEDIATE;"}
_INTO = '\n\nCREATE SCHEMA IF NOT EXISTS "{0}";\n\nSET LOCAL search_path TO "{0}";'
_RUN_BY = {"postgresql": "psql -v ON_ERROR_STOP=1", "sqlite": "sqlite3 -bail"}


def migration_sql(engine: Engine, *, from_scratch: bool = False) -> str:
    """The SQL of what `migrate` would do to this database: one transaction, including changes of data.

    Args:
        from_scratch: for an empty database of this kind; no database is asked.
    Raises:
        ConfigurationError: the database can't be reached.
        SchemaError: the tables are newer than this version, or there is an event_store of another program, whose
            adoption depends on its rows.
    """
    from alembic import command  # here: whoever only looks at the ledger need not load it

    start = None if from_scratch else revision_of(engine)
    todo = later_than(start)
    if not todo:
        return f"-- celery-domain-events: the tables are up to date ({start})\n"
    if start is None and not from_scratch and not not_made_yet(engine):
        with engine.connect() as connection:
            refuse_a_second(connection)
            _refuse_to_adopt(connection)
    dialect, script = engine.dialect.name, io.StringIO()
    config = configured(dialect=dialect)
    config.output_buffer = script
    command.upgrade(config, f"{start}:head" if start else "head", sql=True)
    what = f"{todo[0]} to {todo[-1]}, of {f'tables at {start}' if start else 'an empty database'}"
    begin = _BEGIN[dialect] + (_INTO.format(schema()) if schema() else "")
    return (
        f"-- celery-domain-events: revisions {what}. Run it by {_RUN_BY[dialect]}, so that an error ends it.\n"
        f"-- What functions marked @on_migrate make is not in it.\n\n"
        f"{begin}\n\n{script.getvalue().strip()}\n\nCOMMIT;\n"
    )


def _refuse_to_adopt(connection: Connection) -> None:
    if is_there(connection):
        raise SchemaError(
            "the database has an event_store of another program, and how it is adopted depends on its rows; run "
            "`events migrate` without --sql, or rename that table"
        )
