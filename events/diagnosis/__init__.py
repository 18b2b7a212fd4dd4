"""The checks behind `events doctor`: they find faults of a configuration or a running system, and say how to mend them.

`findings` is what the checks report; `database`, `autogenerate`, `broker`, `bridges` and `workers` hold the checks, one
function each. What slows a ledger on PostgreSQL down is checked in `old_snapshots`, `dead_rows` and `index_bloat`, with
the limits of `upkeep`. This folder alone asks `worker` what Celery's settings must be.

May import: worker, pipeline and what is below. Open first: `examination`.
"""

from events.diagnosis.examination import examine
from events.diagnosis.findings import Finding, Level

__all__ = ["Finding", "Level", "examine"]
