"""The database: reachable, migrated, durable, large enough, and of one time with us."""

import stat
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from events.diagnosis.findings import Finding, error, ok, warning
from events.errors import ConfigurationError, SchemaError
from events.ledger import ALIVE, WorkerInfo
from events.pipeline import Pipeline
from events.store import (
    BACKGROUND,
    Pooler,
    beside,
    check_schema,
    cure_of,
    file_of,
    handlers_at_once,
    metadata,
    pooler_of,
    postgres_schema,
    reason_of,
    room,
)

_SKEW = 1.0  # seconds


def reachable(pipeline: Pipeline) -> list[Finding]:
    try:
        with pipeline.ledger.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except DBAPIError as refused:
        cure = cure_of(refused, pipeline.ledger.engine.url.username) or "check EVENTS_DATABASE_URL"
        return [error("database", f"{pipeline.settings.database_url}: {reason_of(refused)}", cure)]
    return [ok("database", f"{pipeline.settings.database_url} answers")]


def schema(pipeline: Pipeline) -> list[Finding]:
    try:
        check_schema(pipeline.ledger.engine)
    except SchemaError as wrong:
        return [error("schema", str(wrong), "run `events migrate`")]
    except ConfigurationError as refused:
        says, _, cure = str(refused).partition("; ")
        return [error("schema", says, cure)]
    return [ok("schema", "up to date")]


def marked_by_others(pipeline: Pipeline) -> list[Finding]:
    """Another program that marks events as processed, as if it had the table for itself."""
    found = pipeline.ledger.overviews.marked_by_others()
    if not (told := found.told()):
        return [ok("processed", "no other program marks events as processed")]
    cure = "when its work is done by handlers here, stop it; see docs/migrating.md"
    if pipeline.settings.marked_by_others == "leave":
        cure += ", or set EVENTS_MARKED_BY_OTHERS=handle for handlers here to run as well"
    return [warning("processed", told, cure)]


def permissions(pipeline: Pipeline) -> list[Finding]:
    """Of an SQLite file: whether other users of this machine can read the ledger."""
    url = pipeline.ledger.engine.url
    if url.get_backend_name() != "sqlite":
        return []
    file = file_of(url.database)
    found = [one for one in (file, *beside(file)) if one.exists()]
    if not all(folder.stat().st_mode & stat.S_IXOTH for folder in file.parents):
        return [ok("permissions", "no other user can reach the file")]
    if open_to_all := [one.name for one in found if one.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)]:
        says = f"every user of this machine can read {', '.join(open_to_all)}, and what events hold"
        return [warning("permissions", says, f"chmod o-rwx {' '.join(map(str, found))}")]
    return [ok("permissions", "the file is not open to all users")]


def rights(pipeline: Pipeline) -> list[Finding]:
    """What workers and publishers do, the role may do."""
    if pipeline.ledger.engine.dialect.name == "sqlite":
        return []
    role = pipeline.ledger.engine.url.username or "the role"
    if _value(pipeline, "SHOW transaction_read_only") == "on":
        cure = f"name the primary; or unset default_transaction_read_only of {role} or of the database"
        return [error("rights", "transactions are read-only", cure)]
    tables = ", ".join(f"('{name}', '{postgres_schema.named(name)}')" for name in sorted(metadata.tables))
    missing = _value(
        pipeline,
        f"""
        SELECT string_agg(may || ' ' || name, ', ' ORDER BY name, may)
        FROM (VALUES {tables}) ours (name, place), unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) may
        WHERE to_regclass(place) IS NOT NULL AND NOT has_table_privilege(to_regclass(place)::oid, may)""",
    )
    if missing:
        where = postgres_schema.schema() or "public"
        cure = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {where} TO {role}"
        return [error("rights", f"{role} may not {missing}", cure)]
    return [ok("rights", "to read and write all tables of events")]


def pooler(pipeline: Pipeline) -> list[Finding]:
    """PgBouncer and its like, and whether what needs a connection of one's own is asked for all the same."""
    found = pooler_of(pipeline.ledger.engine)
    if found is None:
        return []
    says = f"a pooler such as PgBouncer is in between, in {found.value} mode"
    if not pipeline.settings.listen:
        return [ok("pooler", f"{says}, and EVENTS_LISTEN is off")]
    if found is Pooler.TRANSACTION:
        cure = "set EVENTS_LISTEN=off, for workers, relays and whoever publishes; see docs/pgbouncer.md"
        return [error("pooler", f"{says}, and EVENTS_LISTEN is on", cure)]
    return [ok("pooler", f"{says}, where NOTIFY is heard")]


def durability(pipeline: Pipeline) -> list[Finding]:
    if pipeline.ledger.engine.dialect.name == "sqlite":
        mode = _value(pipeline, "PRAGMA journal_mode")
        if str(mode).lower() != "wal":
            return [error("journal", f"journal_mode is {mode}",
                          "put the file on a local disk: WAL does not work on network file systems")]  # fmt: skip
        return [ok("journal", "WAL, synchronous FULL")]
    found = []
    for name, wanted, cure in (
        ("fsync", "on", "set fsync = on: a crash of the machine would corrupt the ledger"),
        ("full_page_writes", "on", "set full_page_writes = on: a crash of the machine would corrupt the ledger"),
        ("default_transaction_isolation", "read committed",
         "set default_transaction_isolation = 'read committed': claims rely on it, other levels fail and are retried"),
    ):  # fmt: skip
        value = str(_value(pipeline, f"SHOW {name}"))
        good = value == wanted
        found.append(ok(name, value) if good else error(name, f"is {value}", cure))
    commit = str(_value(pipeline, "SHOW synchronous_commit"))
    cure = "set synchronous_commit = on: the last commits before a crash are lost, events and effects alike"
    found.append(warning("synchronous_commit", "is off", cure) if commit == "off" else ok("synchronous_commit", commit))
    return found


def connections(pipeline: Pipeline) -> list[Finding]:
    if pipeline.ledger.engine.dialect.name == "sqlite":
        return []
    most, limited_by, where = min(_limits(pipeline))
    workers = pipeline.ledger.workers.alive(ALIVE)
    # Each handler has its delivery's connection, each process that runs handlers one for heartbeats; the main process
    # relays, listens, and says that it lives.
    needed = sum(worker.concurrency + _processes(worker) + 4 for worker in workers)
    kept = sum(_kept(worker, worker.pool_size) for worker in workers)
    says = (
        f"{len(workers)} workers use up to {needed} connections at a time, and more if handlers call get_engine(); "
        f"they keep up to {kept} open; the {where} allows {most}"
    )
    if pooler_of(pipeline.ledger.engine) is not None:
        return [ok("connections", f"{says}; a pooler shares them out, and its max_client_conn has to allow more")]
    if needed > most:
        cure = f"raise {limited_by}, lower --concurrency, or put PgBouncer between (EVENTS_LISTEN=off)"
        return [error("connections", says, cure)]
    if kept > most:
        helps = sum(_kept(worker, 1) for worker in workers) <= most
        cure = f"lower EVENTS_POOL_SIZE, or raise {limited_by}" if helps else f"raise {limited_by}"
        return [warning("connections", says, cure)]
    return [ok("connections", says)]


def _limits(pipeline: Pipeline) -> list[tuple[int, str, str]]:
    """Of connections: how many, what to raise, and who sets it."""
    reserved = int(_value(pipeline, "SHOW superuser_reserved_connections"))
    found = [(int(_value(pipeline, "SHOW max_connections")) - reserved, "max_connections", "server")]
    for where, query in (
        ("role", "SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user"),
        ("database", "SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database()"),
    ):
        limit = _value(pipeline, query)
        if limit is not None and limit >= 0:  # -1: none
            found.append((limit, f"the {where}'s CONNECTION LIMIT", where))
    return found


def _processes(worker: WorkerInfo) -> int:
    return worker.concurrency if worker.pool == "prefork" else 1


def _kept(worker: WorkerInfo, pool_size: int) -> int:
    """Connections that a worker keeps open once it has needed them: of handlers, and of the ledger itself."""
    kept, _ = room(handlers_at_once(worker.pool, worker.concurrency), pool_size)
    return _processes(worker) * (kept + 1) + BACKGROUND[0] + 1


def clock(pipeline: Pipeline) -> list[Finding]:
    if pipeline.ledger.engine.dialect.name == "sqlite":
        return []
    before = datetime.now(UTC)
    theirs: datetime = _value(pipeline, "SELECT clock_timestamp()")
    ahead = ((before + (datetime.now(UTC) - before) / 2) - theirs).total_seconds()
    clocks = {"this machine": ahead} | {one.name: one.clock_ahead for one in pipeline.ledger.workers.alive(ALIVE)}
    found = []
    for name, seconds in clocks.items():
        if abs(seconds) <= _SKEW:
            continue
        says = f"the clock of {name} is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} the database's"
        too_far = abs(seconds) > pipeline.settings.lease.total_seconds() / 2
        found.append((error if too_far else warning)("clock", says, "let NTP set the clocks of both machines"))
    return found or [ok("clock", f"{len(clocks)} clocks within {_SKEW:g} s of the database's")]


def _value(pipeline: Pipeline, query: str) -> Any:
    with pipeline.ledger.engine.connect() as connection:
        return connection.scalar(text(query))
