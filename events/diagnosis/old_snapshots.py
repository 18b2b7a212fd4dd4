"""Old snapshots: transactions and the like that keep PostgreSQL from removing dead rows, which all looks then pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from events.diagnosis.findings import Finding, ok, warning
from events.diagnosis.upkeep import LIMITS, Limits, lasted, on_primary, rows
from events.pipeline import Pipeline
from events.text import plural

_SHOWN = 5  # of those that are old: the cause is the oldest
_ROWS, _OF_CATALOG = "dead rows", "dead rows of system tables"
_HIDDEN = "<insufficient privilege>"  # what PostgreSQL shows of a session that the role may not see

# A transaction without an id and without a snapshot keeps nothing, however old; nor does a VACUUM's own. Those of other
# databases don't count, but for a standby's, which has none. Every role may see the ids, but not since when they are.
_SESSIONS = """
    SELECT a.pid, a.usename, a.application_name, host(a.client_addr) AS client, a.state,
        sender.pid IS NOT NULL AS standby, a.query = :hidden AS hidden,
        extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds,
        greatest(age(a.backend_xid), age(a.backend_xmin)) AS transactions
    FROM pg_catalog.pg_stat_activity a
    LEFT JOIN pg_catalog.pg_stat_replication sender ON sender.pid = a.pid AND a.xact_start IS NULL
    WHERE CASE WHEN sender.pid IS NULL THEN a.datname = current_database() ELSE a.datname IS NULL END
        AND coalesce(a.backend_xid, a.backend_xmin) IS NOT NULL AND a.pid <> pg_backend_pid()
        AND a.backend_type IS DISTINCT FROM 'parallel worker'
        AND a.pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_progress_vacuum)"""
_PREPARED = """
    SELECT gid, owner, age(transaction) AS transactions,
        extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
    FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()"""
_SLOTS = """
    SELECT slot_name, active, age(xmin) AS of_rows, age(catalog_xmin) AS of_catalog
    FROM pg_catalog.pg_replication_slots WHERE coalesce(xmin, catalog_xmin) IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who keeps dead rows from being removed."""

    told: str
    cure: str
    transactions: int  # that began since: what they left dead is kept
    seconds: float | None = None  # since then; None: the server doesn't know it, or doesn't tell it
    hidden: bool = False  # whether the role may see no more of it
    keeps: str = _ROWS

    @property
    def of_tables(self) -> bool:
        """Whether rows of our own tables are kept."""
        return self.keeps == _ROWS

    def is_old(self, limits: Limits) -> bool:
        if self.seconds is None:
            return self.transactions >= limits.transactions
        return self.transactions > 0 and self.seconds >= limits.age.total_seconds()


def old_snapshots(pipeline: Pipeline, limits: Limits = LIMITS) -> list[Finding]:
    """Who has kept dead rows for long, since when, and how to end it."""
    if pipeline.ledger.engine.dialect.name == "sqlite":
        return []
    if not on_primary(pipeline):
        says = "not examined: this server is a standby, and only its primary knows dead rows and who keeps them"
        return [ok("old snapshots", says)]
    found = holders(pipeline)
    old = [holder for holder in found if holder.is_old(limits)]
    findings = [_finding(holder) for holder in old[:_SHOWN]]
    if (more := len(old) - _SHOWN) > 0:
        says = f"{more} more are as old as that, and keep fewer dead rows"
        findings.append(warning("old snapshots", says, "end those above, then run `events doctor` again"))
    if findings:
        return findings
    says = f"nobody has kept dead rows for {lasted(limits.age.total_seconds())}"
    if hidden := sum(holder.hidden for holder in found):
        role = pipeline.ledger.engine.url.username or "the role"
        says += (
            f", as far as {role} may see; {plural(hidden, 'open transaction')} of other roles may be as old, though "
            f"fewer than {limits.transactions:,} transactions began since; GRANT pg_read_all_stats TO {role} would tell"
        )
    return [ok("old snapshots", says)]


def holders(pipeline: Pipeline) -> list[Holder]:
    """All who keep dead rows of this database at this moment, those who keep most first."""
    found = [*_sessions(pipeline), *_prepared(pipeline), *_slots(pipeline)]
    return sorted(found, key=lambda holder: -holder.transactions)


def _finding(holder: Holder) -> Finding:
    old = f" and {lasted(holder.seconds)} old" if holder.seconds is not None else ""
    last = plural(holder.transactions, "transaction")
    says = f"{holder.told}{old}; it keeps all {holder.keeps} of the last {last}"
    return warning("old snapshots", says, holder.cure)


def _sessions(pipeline: Pipeline) -> Iterator[Holder]:
    role = pipeline.ledger.engine.url.username or "the role"
    for session in rows(pipeline, _SESSIONS, hidden=_HIDDEN):
        application = f", application {session.application_name!r}" if session.application_name else ""
        client = "" if session.hidden else f", from {session.client or 'the server itself'}"
        # A VACUUM of autovacuum is left out; its ANALYZE isn't, and has no user.
        who = f"{session.usename or 'autovacuum'}{application}{client}"
        told, cure = _standby(session, who) if session.standby else _transaction(session, who, role)
        yield Holder(told, cure, session.transactions, session.seconds, session.hidden)


def _transaction(session: Row[Any], who: str, role: str) -> tuple[str, str]:
    end = f"SELECT pg_terminate_backend({session.pid})"
    transaction = f"a transaction of session {session.pid} ({who})"
    if session.hidden:
        told = f"{transaction} is open, since when {role} may not see"
        return told, f"GRANT pg_read_all_stats TO {role} shows it; to end it, run: {end}"
    if (session.state or "").startswith("idle in transaction"):
        next_time = f"ALTER ROLE {_name(session.usename)} SET idle_in_transaction_session_timeout = '5min'"
        return f"{transaction} is idle", f"run: {end}; {next_time} ends the next one"
    told = f"{transaction} is {'active' if session.state == 'active' else 'open'}"
    return told, f"wait until it ends, or run: {end}; let long transactions commit now and then"


def _standby(session: Row[Any], who: str) -> tuple[str, str]:
    told = f"a standby (session {session.pid}, {who}) has hot_standby_feedback and a long transaction"
    return told, "end the long transaction on the standby, or set hot_standby_feedback = off there"


def _prepared(pipeline: Pipeline) -> Iterator[Holder]:
    for one in rows(pipeline, _PREPARED):
        gid = one.gid.replace("'", "''")
        told = f"transaction {one.gid!r} of {one.owner} is prepared"
        end = f"COMMIT PREPARED '{gid}' or ROLLBACK PREPARED '{gid}'"
        yield Holder(told, f"let its coordinator end it, or run in this database: {end}", one.transactions, one.seconds)


def _slots(pipeline: Pipeline) -> Iterator[Holder]:
    for slot in rows(pipeline, _SLOTS):
        told = f"replication slot {slot.slot_name} is {'active' if slot.active else 'inactive'}"
        if slot.active and slot.of_rows is not None:
            cure = "end the long transaction on its standby, or set hot_standby_feedback = off there"
        elif slot.active:
            cure = "let its reader confirm what it has read"
        else:
            drop = f"SELECT pg_drop_replication_slot('{slot.slot_name}')"
            cure = f"start its reader; if there is none any more, run: {drop}"
        if slot.of_rows is not None:
            yield Holder(told, cure, slot.of_rows)
        else:
            yield Holder(told, cure, slot.of_catalog, keeps=_OF_CATALOG)


def _name(role: str) -> str:
    """The name of a role, as SQL takes it."""
    return '"' + role.replace('"', '""') + '"'
