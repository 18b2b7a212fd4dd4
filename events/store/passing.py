"""A worker can't run a delivery, and others may: it is due again after a delay that grows each time."""

import random
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, case

from events.store.engine import now_plus
from events.store.tables import event_deliveries, waits

_DELIVERY = event_deliveries.c
_TIMES = 4  # different delays, up to about ten seconds: what nobody has is held, so others take it soon


def passed_on(connection: Connection) -> dict[str, Any]:
    """The values of such a delivery.

    Never the same: a broker that takes turns would give what is sent together to the same workers again and again.
    """
    first = random.uniform(0.5, 2.0)
    after = [now_plus(connection, timedelta(seconds=first * 2**passes)) for passes in range(_TIMES)]
    due_at = case(*((_DELIVERY.passes == passes, moment) for passes, moment in enumerate(after)), else_=after[-1])
    return {"state": waits(), "due_at": due_at, "passes": _DELIVERY.passes + 1}
