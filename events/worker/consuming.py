"""`celery control add_consumer` and `cancel_consumer`, and Flower's buttons: they choose among handlers' queues, too.

On an application's own Celery app we read these queues, and not Celery, whose own commands would read wake-ups as plain
tasks, or cancel nothing. What a worker has taken already it still runs.
"""

import logging
from typing import Any

from celery.worker import control as of_celery
from celery.worker.control import control_command, inspect_command

from events.transport import work_queue
from events.worker.host import host_of, may_have_handlers
from events.worker.queues import handlers_queues

log = logging.getLogger("events.worker")

_celerys_add, _celerys_cancel = of_celery.add_consumer, of_celery.cancel_consumer
_celerys_queues = of_celery.active_queues


@control_command(
    name="add_consumer",
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="<queue> [exchange [type [routing_key]]]",
)  # type: ignore[untyped-decorator]
def add_consumer(state: Any, queue: str, *arguments: Any, **options: Any) -> dict[str, str]:
    """Tell worker(s) to consume from task queue by name."""
    if not may_have_handlers(state.app):
        return _celerys_add(state, queue, *arguments, **options)  # type: ignore[no-any-return]
    host = host_of(state.app)
    names = handlers_queues(host.pipeline)
    if host.alone:
        if queue in names:
            return _celerys_add(state, queue)  # type: ignore[no-any-return]
        known = f"EVENTS_QUEUE and @handles(..., queue=...) name {', '.join(names)}"
        return {"error": f"no handler here has queue {queue!r}; {known}"}
    if queue not in names:
        return _celerys_add(state, queue, *arguments, **options)  # type: ignore[no-any-return]
    if host.off or host.queues is None:
        return {
            "error": f"no handler can run in this worker: {host.off}; start it with -Q and {queue} among its queues"
        }
    if queue not in host.queues:
        host.queues.append(queue)  # the relay without a broker and the inlet look at this list
        if host.intake is not None:
            host.intake.read(queue)
        log.info("handlers' deliveries of queue %s are taken from now on", queue)
    return {"ok": f"add consumer {queue}"}


@control_command(name="cancel_consumer", args=[("queue", str)], signature="<queue>")  # type: ignore[untyped-decorator]
def cancel_consumer(state: Any, queue: str, **options: Any) -> dict[str, str]:
    """Tell worker(s) to stop consuming from task queue by name."""
    if not _is_ours(state.app, queue):
        return _celerys_cancel(state, queue, **options)  # type: ignore[no-any-return]
    host = host_of(state.app)
    if host.queues is not None and queue in host.queues:
        host.queues.remove(queue)
        if host.intake is not None:
            host.intake.leave(queue)
        log.info("handlers' deliveries of queue %s are left to other workers from now on", queue)
    return {"ok": f"no longer consuming from {queue}"}


@inspect_command(name="active_queues")  # type: ignore[untyped-decorator]
def active_queues(state: Any) -> list[dict[str, Any]]:
    """List the task queues a worker is currently consuming from."""
    found: list[dict[str, Any]] = _celerys_queues(state)
    if not may_have_handlers(state.app) or (host := host_of(state.app)).alone or host.off:
        return found
    settings = host.pipeline.settings
    return found + [dict(work_queue(name, settings).as_dict(recurse=True)) for name in host.queues or []]


def _is_ours(app: Any, queue: str) -> bool:
    return may_have_handlers(app) and not host_of(app).alone and queue in handlers_queues(host_of(app).pipeline)
