"""Runs handlers: claims the delivery, calls the handler in a transaction, and writes the outcome into the same one.

`deliverer` claims, and chooses who runs what was claimed: `single`, `group`, `batch` or `side_by_side`. `verdict`
decides what becomes of a failure, and `outages` waits for a database that is away.

May import: handling, publishing, ledger, hooks and the words below; no SQL, no Celery. Open first: `deliverer`.
"""

from events.delivery.deliverer import Deliverer
from events.delivery.guests import Guest, lend_to
from events.delivery.provided import Provided
from events.delivery.side_by_side import runs_side_by_side, takes_along
from events.delivery.taking_along import TAKES_ALONG

__all__ = [
    "TAKES_ALONG",
    "Deliverer",
    "Guest",
    "Provided",
    "lend_to",
    "runs_side_by_side",
    "takes_along",
]
