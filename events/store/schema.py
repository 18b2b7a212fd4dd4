"""Creates and updates the tables by Alembic, and tells a process whether they are as it needs them."""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from events.errors import ConfigurationError, SchemaError
from events.settings import redact
from events.store.adopting import adopt
from events.store.engine import transaction
from events.store.refusals import cure_of, reason_of

VERSION_TABLE = "events_schema"  # not alembic_version, which is the application's
_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_310_579_604_112  # any number, the same for all who migrate


def migrate(engine: Engine, *, leave_existing: bool = False) -> list[str]:
    """Bring the tables up to date; the revisions that were applied, none if they were.

    One transaction: it happens as a whole or not at all, and two processes at once take turns.

    Args:
        leave_existing: in an event_store that another program has made, what is not processed stays unhandled.
    Raises:
        ConfigurationError: the database can't be reached.
        SchemaError: it is newer than this version, or has tables that can't become the ledger's.
    """
    from alembic import command  # here: whoever only looks at the ledger need not load it
    from alembic.config import Config

    try:
        with transaction(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            before = _revision(connection)
            _refuse_newer(before, engine)
            if before == _revisions()[-1]:
                return []
            if before is None:
                adopt(connection, leave=leave_existing)
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return [revision for revision in _revisions() if revision > (before or "")]
    except DBAPIError as error:
        raise _refused(engine, error) from error


def check_schema(engine: Engine) -> None:
    """Raises SchemaError, with the command to run, if the tables are missing, old or newer than this version."""
    try:
        with engine.connect() as connection:
            found = _revision(connection)
    except DBAPIError as error:
        raise _refused(engine, error) from error
    _refuse_newer(found, engine)
    if found != _revisions()[-1]:
        what = "has no tables of events" if found is None else f"has old tables of events ({found})"
        raise SchemaError(f"the database {_name(engine)} {what}; run `events migrate`")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return revision


def _revisions() -> list[str]:
    """All that there are, in order: the numbers that their files' names begin with."""
    return sorted(file.name.partition("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _refuse_newer(found: str | None, engine: Engine) -> None:
    if found is not None and found not in _revisions():
        raise SchemaError(
            f"the database {_name(engine)} was migrated by a newer version ({found}) of celery-domain-events; "
            f"install that version here"
        )


def _refused(engine: Engine, error: DBAPIError) -> ConfigurationError:
    cure = cure_of(error, engine.url.username) or "check the address, and that it runs"
    return ConfigurationError(f"EVENTS_DATABASE_URL={_name(engine)}: {redact(reason_of(error))}; {cure}")


def _name(engine: Engine) -> str:
    return redact(engine.url.render_as_string(hide_password=True))
