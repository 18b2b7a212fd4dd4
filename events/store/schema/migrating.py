"""Creates and updates the tables by Alembic, and checks whether a process finds the tables that it needs."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from events.errors import ConfigurationError, SchemaError
from events.store.database.availability import is_away, is_contention
from events.store.database.engine import transaction
from events.store.database.files import file_of
from events.store.schema.adopting import adopt, refusal_by
from events.store.schema.postgres_schema import go_into, has_schema, named, others, schema
from events.store.schema.refusals import cure_of, reason_of
from events.text import redact

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger("events.store")

VERSION_TABLE = "events_schema"  # alembic_version is the application's
_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_TOO_LATE = (
    "--leave-existing belongs to the first `events migrate`, and the event_store of {} is the ledger's already; leave "
    "it out, and say after migrating which events are never to be handled: UPDATE event_store SET processed = true, "
    "fanned_out = 1 WHERE processed = false AND ..."
)
LOCK = 7_310_579_604_112  # any number; every migrating process uses the same


def migrate(engine: Engine, *, leave_existing: bool = False) -> list[str]:
    """Bring the tables up to date; the revisions that were applied, none if they were.

    One transaction: it happens as a whole or not at all, and two processes at once take turns.

    Args:
        leave_existing: unprocessed events in the event_store of another program are never handled.
    Raises:
        ConfigurationError: the database can't be reached.
        SchemaError: the tables are newer than this version, or can't become the ledger's; or `leave_existing` comes too
            late, since the event_store is the ledger's already.
    """
    from alembic import command  # here: whoever only looks at the ledger need not load it

    told: list[str] = []
    try:
        with transaction(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            before = _revision(connection)
            _refuse_newer(before, engine)
            if before is not None and leave_existing:
                raise SchemaError(_TOO_LATE.format(_name(engine)))
            if before == _revisions()[-1]:
                return []
            if before is None:
                refuse_a_second(connection)
            go_into(connection)
            if before is None:
                told = adopt(connection, leave=leave_existing)
            command.upgrade(configured(connection=connection), "head")
    except DBAPIError as error:
        refusal = refusal_by(error) if told else None  # the migrations change an adopted table, too
        raise refusal or _refused(engine, error) from error
    for line in told:
        log.warning("%s", line)
    return later_than(before)


def check_schema(engine: Engine) -> None:
    """Raises SchemaError, with the command to run, if the tables are missing, old or newer than this version."""
    found = _found(engine)
    if found != _revisions()[-1]:
        where = f" in the schema {schema()}" if schema() else ""
        what = "has no tables of events" if found is None else f"has old tables of events ({found})"
        raise SchemaError(f"the database {_name(engine)} {what}{where}; {_cure(engine, found)}")


def pending(engine: Engine) -> list[str]:
    """The revisions that `migrate` would apply, in order. Nothing is changed, and no file made.

    Raises:
        ConfigurationError: the database can't be reached.
        SchemaError: the tables are newer than this version.
    """
    return later_than(revision_of(engine))


def revision_of(engine: Engine) -> str | None:
    """The revision of the existing tables; None if there are none. Raises as `pending` does."""
    return None if not_made_yet(engine) else _found(engine)


def not_made_yet(engine: Engine) -> bool:
    """Whether the SQLite file doesn't exist: connecting would make it."""
    return engine.dialect.name == "sqlite" and not file_of(engine.url.database).exists()


def later_than(revision: str | None) -> list[str]:
    """The revisions after this one, in order."""
    return [one for one in _revisions() if one > (revision or "")]


def configured(**attributes: Any) -> "Config":
    """Alembic's configuration, with the attributes that migrations/env.py reads."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config


def _found(engine: Engine) -> str | None:
    try:
        with engine.connect() as connection:
            found = _revision(connection)
    except DBAPIError as error:
        raise _refused(engine, error) from error
    _refuse_newer(found, engine)
    return found


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE, schema()):
        return None
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {named(VERSION_TABLE)}"))
    return revision


def _revisions() -> list[str]:
    """All revisions, in order: the numbers at the beginning of the file names."""
    return sorted(file.name.partition("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def refuse_a_second(connection: Connection) -> None:
    """Refuse a second ledger that its users couldn't tell from the first: one of them needs EVENTS_SCHEMA."""
    there = others(connection, VERSION_TABLE)
    if not there or (schema() and has_schema(connection)):
        return
    if schema() is None and connection.scalar(text("SELECT current_schema()")) != "public":
        return
    second = f"make its schema first: CREATE SCHEMA {schema()}" if schema() else "set EVENTS_SCHEMA=public"
    raise SchemaError(
        f"this database has a ledger, in the schema {there[0]}: set EVENTS_SCHEMA={there[0]} to work with it; or move "
        f"it, see docs/alembic.md; for a second one {second}"
    )


def _cure(engine: Engine, found: str | None) -> str:
    if found is None:
        with engine.connect() as connection:
            if there := others(connection, VERSION_TABLE):
                return f"the one in the schema {there[0]} is used with EVENTS_SCHEMA={there[0]}"
    return "run `events migrate`"


def _refuse_newer(found: str | None, engine: Engine) -> None:
    if found is not None and found not in _revisions():
        raise SchemaError(
            f"the database {_name(engine)} was migrated by a newer version ({found}) of celery-domain-events; "
            f"install that version here"
        )


def _refused(engine: Engine, error: DBAPIError) -> ConfigurationError:
    cure = cure_of(error, engine.url.username)
    if not cure and is_away(error):
        cure = "check the address, and that it runs"
    elif not cure:
        cure = "somebody else is at work there, so try again" if is_contention(error) else "mend that"
    return ConfigurationError(f"EVENTS_DATABASE_URL={_name(engine)}: {redact(reason_of(error))}; {cure}")


def _name(engine: Engine) -> str:
    return redact(engine.url.render_as_string(hide_password=True))
