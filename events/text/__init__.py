"""Text that others wrote, made fit for a terminal, a log line or a column: `redaction` hides the secrets of URLs,
`escaping` takes control characters away, `portable` what some database refuses, `lines` all but the first line.

May import: nothing of ours. Open first: `redaction`.
"""

from events.text.escaping import printable
from events.text.lines import first_line
from events.text.portable import storable, storable_json
from events.text.redaction import brief, redact

__all__ = [
    "brief",
    "first_line",
    "printable",
    "redact",
    "storable",
    "storable_json",
]
