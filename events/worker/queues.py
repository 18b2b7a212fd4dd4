"""The queues that a worker reads: those of `-Q` must exist, and had better be the queues of its handlers."""

from collections.abc import Mapping
from typing import Any

from events.errors import ConfigurationError
from events.handling import all_handlers
from events.pipeline import Pipeline
from events.worker.host import host_of


def handlers_queues(pipeline: Pipeline) -> list[str]:
    """The queues of all handlers, whether a worker reads them or not."""
    return sorted({handler.queue or pipeline.settings.queue for handler in all_handlers()})


def check_queues(app: Any, options: Mapping[str, Any]) -> None:
    """Raises ConfigurationError if -Q or -X names a queue that no handler has: Celery's own cure doesn't work here."""
    for option, key in (("-Q", "queues"), ("-X", "exclude_queues")):
        given = options.get(key) or []
        names = given.split(",") if isinstance(given, str) else given
        if unknown := [name for name in names if name not in app.amqp.queues]:
            known = ", ".join(sorted(app.amqp.queues))
            raise ConfigurationError(
                f"{option} {','.join(names)}: no handler here has queue {unknown[0]!r}; EVENTS_QUEUE and "
                f"@handles(..., queue=...) name {known}"
            )


def idle_queues(app: Any) -> str:
    """What to say if this worker reads none of the queues of its handlers; else ""."""
    wanted = {handler.queue or host_of(app).pipeline.settings.queue for handler in all_handlers()}
    reads = sorted(app.amqp.queues.consume_from)
    if not wanted or not wanted.isdisjoint(reads):
        return ""
    return (
        f"this worker reads queue {', '.join(reads)}, and all its handlers have other queues: "
        f"{', '.join(sorted(wanted))}; start it without -Q and -X, or with -Q {','.join(sorted(wanted))}"
    )
