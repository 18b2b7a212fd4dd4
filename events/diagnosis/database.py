"""The database: reachable, migrated, durable, large enough, and of one time with us."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from events.diagnosis.findings import Finding, error, ok, warning
from events.errors import SchemaError
from events.pipeline import Pipeline
from events.records import ALIVE
from events.store import check_schema

_SKEW = 1.0  # seconds


def reachable(pipeline: Pipeline) -> list[Finding]:
    with pipeline.ledger.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return [ok("database", f"{pipeline.settings.database_url} answers")]


def schema(pipeline: Pipeline) -> list[Finding]:
    try:
        check_schema(pipeline.ledger.engine)
    except SchemaError as wrong:
        return [error("schema", str(wrong), "run `events migrate`")]
    return [ok("schema", "up to date")]


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
    most = int(_value(pipeline, "SHOW max_connections")) - int(_value(pipeline, "SHOW superuser_reserved_connections"))
    workers = pipeline.ledger.workers.alive(ALIVE)
    # Every child runs one delivery, with a heartbeat; the main process relays and listens.
    needed = sum(2 * worker.concurrency + 4 for worker in workers)
    pools = sum((worker.concurrency + 1) * worker.pool_size for worker in workers)
    says = (
        f"{len(workers)} workers use up to {needed} connections (their pools allow {pools}); the server allows {most}"
    )
    if needed > most:
        cure = (
            "raise max_connections, use fewer processes (--concurrency), or put PgBouncer between (EVENTS_LISTEN=off)"
        )
        return [error("connections", says, cure)]
    if pools > most:
        return [warning("connections", says, "lower EVENTS_POOL_SIZE, or raise max_connections")]
    return [ok("connections", says)]


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
