"""Dead rows and autovacuum: what PostgreSQL has not cleaned up in our tables, and what keeps it from doing so."""

from collections.abc import Iterator

from events.diagnosis.findings import Finding, error, ok, warning
from events.diagnosis.old_snapshots import holders
from events.diagnosis.upkeep import LIMITS, Limits, TableStatistics, lasted, on_primary, rows, tables, value
from events.pipeline import Pipeline

_SETTINGS = {"autovacuum": "nothing removes dead rows", "track_counts": "nobody counts dead rows, and autovacuum rests"}
_OLDEST_DATABASE = """
    SELECT datname, greatest(age(datfrozenxid), mxid_age(datminmxid)) AS age FROM pg_catalog.pg_database
    ORDER BY age DESC LIMIT 1"""
_LOWER = "(autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000)"


def dead_rows(pipeline: Pipeline, limits: Limits = LIMITS) -> list[Finding]:
    """Which tables have so many dead rows that looks slow down, and why those are still there."""
    if not on_primary(pipeline):
        return []
    found = tables(pipeline)
    full = [table for table in found if is_full(table, limits)]
    if not full:
        dead = sum(table.dead for table in found)
        return [ok("dead rows", f"{dead:,}, beside {sum(table.live for table in found):,} living rows")]
    holding = [holder for holder in holders(pipeline) if holder.of_tables]
    held = any(holder.is_old(limits) for holder in holding)
    hidden = any(holder.hidden for holder in holding)
    on = all(_is_on(pipeline, name) for name in _SETTINGS)
    findings = []
    for table in full:
        why, cure = reason(table, held=held, hidden=hidden, on=on)
        says = f"{table.name} has {table.dead:,} dead rows beside {table.live:,} living rows; {why}"
        findings.append(warning("dead rows", says, cure))
    return findings


def is_full(table: TableStatistics, limits: Limits) -> bool:
    """Whether the table has so many dead rows that looks slow down, or that a VACUUM must have failed to come."""
    if table.dead < limits.dead:
        return False
    waited = table.vacuumed is None or table.vacuumed >= limits.unvacuumed.total_seconds()
    overdue = waited and table.dead >= limits.overdue * table.begins_at
    return overdue or table.dead >= limits.dead_at_most or table.dead >= limits.dead_share * table.live


def reason(table: TableStatistics, *, held: bool, hidden: bool, on: bool) -> tuple[str, str]:
    """Why the dead rows are still there, and the cure.

    Args:
        held: an old snapshot keeps them.
        hidden: there are transactions whose age the role may not see.
        on: the server has autovacuum on.
    """
    vacuum = f"run: VACUUM {table.name}"
    last = f"the last VACUUM was {lasted(table.vacuumed)} ago" if table.vacuumed is not None else "no VACUUM yet"
    if held:
        return "an old snapshot keeps them", f"end what `old snapshots` names, then {vacuum}"
    if not on or not table.enabled:
        return f"autovacuum is off, and {last}", f"turn autovacuum on, as `autovacuum` says; until then {vacuum}"
    if table.running:
        return "a VACUUM runs", "wait for its end; if it takes hours, raise autovacuum_vacuum_cost_limit"
    if table.dead < table.begins_at:
        why = f"autovacuum begins at {table.begins_at:,.0f}"
        return why, f"run: ALTER TABLE {table.name} SET {_LOWER}"
    more = "raise autovacuum_vacuum_cost_limit or autovacuum_max_workers"
    if hidden:
        more = f"if that removes none, a transaction of another role keeps them, as `old snapshots` says; else {more}"
    return f"autovacuum lags: {last}", f"{vacuum}; {more}"


def autovacuum(pipeline: Pipeline, limits: Limits = LIMITS) -> list[Finding]:
    """Whether autovacuum is on, for the server and for each table, and freezes rows in time."""
    if not on_primary(pipeline):
        return []
    findings = [
        warning("autovacuum", f"{name} is off: {what}", f"run: ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf()")
        for name, what in _SETTINGS.items()
        if not _is_on(pipeline, name)
    ]
    found = tables(pipeline)
    for table in found:
        if not table.enabled:
            cure = f"run: ALTER TABLE {table.name} RESET (autovacuum_enabled)"
            findings.append(warning("autovacuum", f"autovacuum is off for {table.name}", cure))
    findings += [*_freezing(found, limits), *_wraparound(pipeline, limits)]
    return findings or [ok("autovacuum", "on for the server and all tables of events")]


def _freezing(found: list[TableStatistics], limits: Limits) -> Iterator[Finding]:
    for table in found:
        share = table.age / table.oldest_age
        if share >= limits.frozen_share:
            says = (
                f"{table.name} was not frozen for {table.age:,} transactions: at {table.oldest_age:,} autovacuum "
                "reads all of the table, whatever else runs"
            )
            cure = f"run at a quiet hour: VACUUM (FREEZE) {table.name}; if it changes nothing, see `old snapshots`"
            yield warning("autovacuum", says, cure)


def _wraparound(pipeline: Pipeline, limits: Limits) -> Iterator[Finding]:
    """Any database of the server: when the ids of one run out, the server takes no more writes for any."""
    for oldest in rows(pipeline, _OLDEST_DATABASE):
        if oldest.age >= limits.wraparound:
            says = (
                f"database {oldest.datname} was not frozen for {oldest.age:,} transactions: soon after 2,000,000,000 "
                "the server takes no more writes"
            )
            cure = f"end what `old snapshots` names, then run in {oldest.datname} as superuser: VACUUM"
            yield error("autovacuum", says, cure)


def _is_on(pipeline: Pipeline, setting: str) -> bool:
    return bool(value(pipeline, "SELECT current_setting(:name)::bool", name=setting))
