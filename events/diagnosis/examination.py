"""Runs all checks, in order. A check that makes no sense after the error of an earlier check is left out."""

from collections.abc import Callable

from events.diagnosis import autogenerate, bridges, broker, database, dead_rows, index_bloat, old_snapshots, workers
from events.diagnosis.findings import Finding, Level, failed
from events.pipeline import Pipeline

Check = Callable[[Pipeline], list[Finding]]
# In each chain, the checks after a gate make no sense if the gate has found an error.
CHAINS: tuple[tuple[Check, ...], ...] = (
    (workers.names,),
    (workers.importable,),
    (workers.celery_settings,),
    (workers.deployment,),
    (autogenerate.alembic,),
    (
        database.reachable,
        database.permissions,
        database.durability,
        database.schema,
        database.marked_by_others,
        database.rights,
        database.pooler,
        database.connections,
        database.clock,
        old_snapshots.old_snapshots,
        dead_rows.dead_rows,
        dead_rows.autovacuum,
        index_bloat.index_bloat,
        workers.presence,
        workers.handlers,
        workers.time_limits,
        workers.leftovers,
    ),
    (broker.reachable, broker.redis, broker.rabbitmq),
    (bridges.bridges,),
)
GATES = {database.reachable, database.schema, broker.reachable}


def examine(pipeline: Pipeline) -> list[Finding]:
    """The findings of all checks, in order. A check that fails is a finding, too; `examine` raises nothing."""
    findings: list[Finding] = []
    for chain in CHAINS:
        for check in chain:
            of_check = _checked(check, pipeline)
            findings += of_check
            if check in GATES and any(finding.level is Level.ERROR for finding in of_check):
                break
    return findings


def _checked(check: Check, pipeline: Pipeline) -> list[Finding]:
    try:
        return check(pipeline)
    except Exception as error:
        part = check.__module__.rpartition(".")[2]
        return [failed(part if check in GATES else check.__name__.replace("_", " "), error)]
