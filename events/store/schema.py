"""Creates and updates the tables by Alembic, and tells a process whether they are as it needs them."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from events.errors import ConfigurationError, SchemaError
from events.settings import redact
from events.store.engine import transaction

VERSION_TABLE = "events_schema"  # not alembic_version, which is the application's
_LOCK = 7_310_579_604_112  # any number, the same for all who migrate


def migrate(engine: Engine) -> list[str]:
    """Bring the tables up to date; the revisions that were applied, none if they were.

    One transaction: it happens as a whole or not at all, and two processes at once take turns.
    Raises ConfigurationError if the database can't be reached, SchemaError if it is newer than this version.
    """
    try:
        with transaction(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            before = _revision(connection)
            scripts = ScriptDirectory.from_config(config := _config(connection))
            _refuse_newer(scripts, before, engine)
            command.upgrade(config, "head")
            after = _revision(connection)
            applied = scripts.iterate_revisions(after, before or "base") if after != before else ()
            return [script.revision for script in reversed(list(applied))]
    except DBAPIError as error:
        raise _unreachable(engine, error) from error


def check_schema(engine: Engine) -> None:
    """Raises SchemaError, with the command to run, if the tables are missing, old or newer than this version."""
    try:
        with engine.connect() as connection:
            found = _revision(connection)
            scripts = ScriptDirectory.from_config(_config(connection))
    except DBAPIError as error:
        raise _unreachable(engine, error) from error
    _refuse_newer(scripts, found, engine)
    if found != scripts.get_current_head():
        what = "has no tables of events" if found is None else f"has old tables of events ({found})"
        raise SchemaError(f"the database {_name(engine)} {what}; run `events migrate`")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return revision


def _refuse_newer(scripts: ScriptDirectory, found: str | None, engine: Engine) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise SchemaError(
            f"the database {_name(engine)} was migrated by a newer version ({found}) of celery-domain-events; "
            f"install that version here"
        )


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _unreachable(engine: Engine, error: DBAPIError) -> ConfigurationError:
    reason = redact(str(error.orig).strip().replace("\n", " "))
    return ConfigurationError(f"EVENTS_DATABASE_URL={_name(engine)}: {reason}; check the address, and that it runs")


def _name(engine: Engine) -> str:
    return redact(engine.url.render_as_string(hide_password=True))
