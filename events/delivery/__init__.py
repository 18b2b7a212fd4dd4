"""One run of a handler: claim the delivery, call the handler in a transaction, write the outcome into the same.

May import: handling, publishing, ledger, hooks and the words below; no SQL, no Celery. Open first: `deliverer`.
"""

from events.delivery.deliverer import Deliverer

__all__ = [
    "Deliverer",
]
