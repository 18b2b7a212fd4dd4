"""Text that others wrote, made fit for a terminal, a log line or a column: `redaction` hides the secrets of URLs,
`escaping` takes control characters away, `portable` what some database refuses. `counting` writes numbers in sentences.

May import: nothing of ours. Open first: `redaction`.
"""

from events.text.counting import deliveries, deliveries_wait, plural
from events.text.escaping import printable
from events.text.lines import first_line
from events.text.portable import storable, storable_json
from events.text.redaction import brief, redact

__all__ = [
    "brief",
    "deliveries",
    "deliveries_wait",
    "first_line",
    "plural",
    "printable",
    "redact",
    "storable",
    "storable_json",
]
