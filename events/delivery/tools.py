"""What it takes to run deliveries, by themselves, in groups and in batches alike."""

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
    """One of each in a process, made by its Deliverer.

    Attributes:
        inbox: the ledger's side.
        outages: waits for a database that is away.
        judge: decides about failures.
        calls: calls handlers.
        heartbeat: extends leases.
        pacing: measures handlers.
        stopping: tells whether an exception is this process being ended rather than the handler failing.
        draining: tells whether nothing new is to be started.
    """

    inbox: Inbox
    outages: Outages
    judge: Judge
    calls: Calls
    heartbeat: Heartbeat
    pacing: Pacing
    stopping: Callable[[BaseException], bool]
    draining: Callable[[], bool]
