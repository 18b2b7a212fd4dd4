"""The database: whether it is reachable, migrated, durable and large enough, and whether its clock agrees with ours."""

import stat
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from events.diagnosis.findings import Finding, error, ok, warning
from events.errors import ConfigurationError, SchemaError
from events.handling import ASYNC_SQL, all_handlers
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
from events.text import plural

_SKEW = 1.0  # seconds by which clocks may differ

# Settings of PostgreSQL: the wanted value, and the cure of any other.
_DURABLE = {
    "fsync": ("on", "set fsync = on: a crash of the machine would corrupt the ledger"),
    "full_page_writes": ("on", "set full_page_writes = on: a crash of the machine would corrupt the ledger"),
    "default_transaction_isolation": (
        "read committed",
        "set default_transaction_isolation = 'read committed': at other levels claims fail, and are retried",
    ),
}


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
    """Whether another program marks events as processed, as if the table were its own."""
    if not (told := pipeline.ledger.overviews.marked_by_others().told()):
        return [ok("processed", "no other program marks events as processed")]
    cure = "stop that program as soon as handlers here do its work; see docs/migrating.md"
    if pipeline.settings.marked_by_others == "leave":
        cure += ", or set EVENTS_MARKED_BY_OTHERS=handle, so that handlers here run, too"
    return [warning("processed", told, cure)]


def permissions(pipeline: Pipeline) -> list[Finding]:
    """Whether other users of this machine can read an SQLite ledger."""
    url = pipeline.ledger.engine.url
    if url.get_backend_name() != "sqlite":
        return []
    file = file_of(url.database)
    files = [path for path in (file, *beside(file)) if path.exists()]
    if not all(folder.stat().st_mode & stat.S_IXOTH for folder in file.parents):
        return [ok("permissions", "no other user can reach the file")]
    if open_to_all := [path.name for path in files if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)]:
        says = f"every user of this machine can read the data of events in {', '.join(open_to_all)}"
        return [warning("permissions", says, f"run chmod o-rwx {' '.join(map(str, files))}")]
    return [ok("permissions", "other users can't read the file")]


def rights(pipeline: Pipeline) -> list[Finding]:
    """Whether the role may do all that workers and publishers do."""
    if pipeline.ledger.engine.dialect.name == "sqlite":
        return []
    role = pipeline.ledger.engine.url.username or "the role"
    if _value(pipeline, "SHOW transaction_read_only") == "on":
        cure = f"connect to the primary server; or unset default_transaction_read_only of {role} or of the database"
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
    return [ok("rights", f"{role} may read and write all tables of events")]


def pooler(pipeline: Pipeline) -> list[Finding]:
    """Whether a pooler such as PgBouncer breaks LISTEN, which needs a connection that no other process uses."""
    pooler = pooler_of(pipeline.ledger.engine)
    if pooler is None:
        return []
    says = f"a pooler such as PgBouncer is between this machine and the database, in {pooler.value} mode"
    if not pipeline.settings.listen:
        return [ok("pooler", f"{says}, and EVENTS_LISTEN is off")]
    if pooler is Pooler.TRANSACTION:
        cure = "set EVENTS_LISTEN=off for workers, relays and publishers; see docs/pgbouncer.md"
        return [error("pooler", f"{says}, and EVENTS_LISTEN is on", cure)]
    return [ok("pooler", f"{says}, which lets NOTIFY through")]


def durability(pipeline: Pipeline) -> list[Finding]:
    """Whether a crash loses commits: the journal of SQLite, the settings of PostgreSQL."""
    if pipeline.ledger.engine.dialect.name == "sqlite":
        mode = _value(pipeline, "PRAGMA journal_mode")
        if str(mode).lower() != "wal":
            cure = "put the file on a local disk: WAL does not work on network file systems"
            return [error("journal", f"journal_mode is {mode}", cure)]
        return [ok("journal", "WAL, synchronous FULL")]
    findings = []
    for name, (wanted, cure) in _DURABLE.items():
        value = str(_value(pipeline, f"SHOW {name}"))
        findings.append(ok(name, value) if value == wanted else error(name, f"{name} is {value}", cure))
    return [*findings, _synchronous_commit(pipeline)]


def _synchronous_commit(pipeline: Pipeline) -> Finding:
    value = str(_value(pipeline, "SHOW synchronous_commit"))
    if value != "off":
        return ok("synchronous_commit", value)
    cure = "set synchronous_commit = on: without it, a crash loses the last commits, events and effects alike"
    return warning("synchronous_commit", "synchronous_commit is off", cure)


def connections(pipeline: Pipeline) -> list[Finding]:
    if pipeline.ledger.engine.dialect.name == "sqlite":
        return []
    most, limited_by, where = min(_limits(pipeline))
    workers = pipeline.ledger.workers.alive(ALIVE)
    # Each handler uses the connection of its delivery, each process that runs handlers one for heartbeats. The main
    # process needs connections to relay, to listen, and to say that the worker is alive.
    # Handlers with an AsyncSession have connections of their own, so many on each event loop.
    needed = sum(worker.concurrency + _processes(worker) + 4 + _awaited(pipeline, worker) for worker in workers)
    kept = sum(_kept(worker, worker.pool_size) for worker in workers)
    says = (
        f"{plural(len(workers), 'worker')} may use {needed} connections at a time, more if handlers call get_engine(), "
        f"and keep {kept} open; the {where} allows {most}"
    )
    if pooler_of(pipeline.ledger.engine) is not None:
        return [ok("connections", f"{says}; a pooler shares the connections, and its max_client_conn must allow more")]
    if needed > most:
        lower = "--concurrency or EVENTS_ASYNC_CONNECTIONS" if any(_awaited(pipeline, one) for one in workers) else ""
        cure = f"raise {limited_by}, lower {lower or '--concurrency'}, or put PgBouncer between (EVENTS_LISTEN=off)"
        return [error("connections", says, cure)]
    if kept > most:
        small_pools_help = sum(_kept(worker, 1) for worker in workers) <= most
        cure = f"lower EVENTS_POOL_SIZE, or raise {limited_by}" if small_pools_help else f"raise {limited_by}"
        return [warning("connections", says, cure)]
    return [ok("connections", says)]


def _limits(pipeline: Pipeline) -> list[tuple[int, str, str]]:
    """Each limit of connections: the number, the setting to raise, and where the limit is set."""
    reserved = int(_value(pipeline, "SHOW superuser_reserved_connections"))
    limits = [(int(_value(pipeline, "SHOW max_connections")) - reserved, "max_connections", "server")]
    for where, query in (
        ("role", "SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user"),
        ("database", "SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database()"),
    ):
        limit = _value(pipeline, query)
        if limit is not None and limit >= 0:  # -1: no limit
            limits.append((limit, f"the {where}'s CONNECTION LIMIT", where))
    return limits


def _processes(worker: WorkerInfo) -> int:
    return worker.concurrency if worker.pool == "prefork" else 1


def _awaited(pipeline: Pipeline, worker: WorkerInfo) -> int:
    """Connections that handlers of this worker await, if its settings are ours."""
    names = {handler.name for handler in all_handlers() if ASYNC_SQL & handler.needs.wanted}
    return worker.concurrency * pipeline.settings.async_connections if names & worker.handlers.keys() else 0


def _kept(worker: WorkerInfo, pool_size: int) -> int:
    """Connections that a worker keeps open after use: those of its handlers, and those of the ledger itself."""
    kept, _ = room(handlers_at_once(worker.pool, worker.concurrency), pool_size)
    return _processes(worker) * (kept + 1) + BACKGROUND[0] + 1


def clock(pipeline: Pipeline) -> list[Finding]:
    if pipeline.ledger.engine.dialect.name == "sqlite":
        return []
    before = datetime.now(UTC)
    of_database: datetime = _value(pipeline, "SELECT clock_timestamp()")
    ahead = ((before + (datetime.now(UTC) - before) / 2) - of_database).total_seconds()
    alive = pipeline.ledger.workers.alive(ALIVE)
    clocks = {"this machine": ahead} | {worker.name: worker.clock_ahead for worker in alive}
    findings = []
    for name, seconds in clocks.items():
        if abs(seconds) <= _SKEW:
            continue
        says = f"the clock of {name} is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} the database's"
        too_far = abs(seconds) > pipeline.settings.lease.total_seconds() / 2
        findings.append((error if too_far else warning)("clock", says, "let NTP set the clocks of both machines"))
    return findings or [ok("clock", f"{plural(len(clocks), 'clock')} within {_SKEW:g} s of the database's")]


def _value(pipeline: Pipeline, query: str) -> Any:
    with pipeline.ledger.engine.connect() as connection:
        return connection.scalar(text(query))
