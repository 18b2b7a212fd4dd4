"""A ledger in a schema of its own, on a server that never cleans up by itself."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from events.diagnosis import dead_rows
from events.diagnosis.findings import Finding, Level
from events.diagnosis.index_bloat import index_bloat
from events.diagnosis.old_snapshots import old_snapshots
from events.diagnosis.upkeep import LIMITS
from events.pipeline import Pipeline
from support.waiting import eventually

Say = Callable[[str], None]
CHECKS = (old_snapshots, dead_rows.dead_rows, dead_rows.autovacuum, index_bloat)
FEW = replace(LIMITS, dead=400, age=timedelta(0), unvacuumed=timedelta(0), wasted=2**19)  # for tables of a test's size
OWN = "ledger.event_actions"


def fill(say: Say, count: int = 1000, table: str = OWN) -> None:
    say(f"INSERT INTO {table} (id, event_id, handler, action, actor, acted_at) SELECT gen_random_uuid(), "
        f"gen_random_uuid(), 'hear', 'replay', 'i', now() FROM generate_series(1, {count})")  # fmt: skip


def dead(pipeline: Pipeline) -> Finding:
    """The finding about the one table with dead rows, as soon as the server has counted them."""

    def counted() -> list[Finding]:
        return [finding for finding in dead_rows.dead_rows(pipeline, FEW) if finding.level is Level.WARNING]

    (found,) = eventually(counted, "the dead rows are counted")
    return found
