"""The tools that the runners share: of single deliveries, of groups and of batches."""

from collections.abc import Callable
from dataclasses import dataclass

from events.delivery.heartbeat import Heartbeat
from events.delivery.outages import Outages
from events.delivery.pacing import Pacing
from events.delivery.transaction import Calls
from events.delivery.verdict import Judge
from events.ledger import Inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools of one process, made by its Deliverer.

    Attributes:
        inbox: the part of the ledger that claims deliveries and stores outcomes.
        outages: waits for a database that is away.
        judge: decides about failures.
        calls: calls handlers.
        heartbeat: extends leases.
        pacing: measures handlers.
        stopping: tells whether an exception ends this process, rather than being a failure of the handler.
        draining: tells whether this process shall start nothing new.
    """

    inbox: Inbox
    outages: Outages
    judge: Judge
    calls: Calls
    heartbeat: Heartbeat
    pacing: Pacing
    stopping: Callable[[BaseException], bool]
    draining: Callable[[], bool]
