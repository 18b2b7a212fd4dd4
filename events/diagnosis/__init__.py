"""What is wrong with a configuration or a running system, and how to mend it: the checks behind `events doctor`.

`findings` is what they report; `database`, `autogenerate`, `broker`, `bridges` and `workers` hold the checks, one
function each. They alone, of all that is no worker, ask `worker` what Celery's settings must be.

May import: worker, pipeline and what is below. Open first: `examination`.
"""

from events.diagnosis.examination import examine
from events.diagnosis.findings import Finding, Level

__all__ = ["Finding", "Level", "examine"]
