"""The handler that sends the plain tasks of an app, or runs them where it has no broker: one for each outbox.

Both have the same name, so that an app may be given a broker later.
"""

from events.bridges import PATIENT
from events.errors import TaskFailed
from events.handling import Handler, Wanted, remember
from events.retry import Retry
from events.worker.plain_tasks.outbox import Outbox, all_outboxes
from events.worker.plain_tasks.running import Running
from events.worker.plain_tasks.sending import Sending

SENDS = "send_tasks."
_BATCH = 200  # tasks that are sent at once


def register_outboxes() -> None:
    """Register the handlers of all outboxes of this process. Raises DefinitionError if a handler has such a name."""
    for outbox in all_outboxes():
        remember(_sender(outbox) if outbox.has_broker else _runner(outbox))


def _sender(outbox: Outbox) -> Handler:
    return Handler(
        name=f"{SENDS}{outbox.name}",
        call=Sending(outbox.app).send,
        events=(outbox.event_class,),
        defined_at=outbox.place,
        wants={"events": Wanted.EVENTS},
        retry=PATIENT,
        most=_BATCH,
        batch=True,
    )


def _runner(outbox: Outbox) -> Handler:
    return Handler(
        name=f"{SENDS}{outbox.name}",
        call=Running(outbox.app).run,
        events=(outbox.event_class,),
        defined_at=outbox.place,
        wants={"event": Wanted.EVENT},
        retry=Retry(never=(TaskFailed,)),
        most=1,
    )
