"""`celery inspect active_queues`, and Flower's page of a worker, show the queues of handlers, too."""

from typing import Any

from celery.worker import control as of_celery
from celery.worker.control import inspect_command

from events.transport import work_queue
from events.worker.host import has_host, host_of, is_alone, queues_of

_celerys = of_celery.active_queues


@inspect_command()  # type: ignore[untyped-decorator]
def active_queues(state: Any) -> list[dict[str, Any]]:
    """List the task queues a worker is currently consuming from."""
    found: list[dict[str, Any]] = _celerys(state)
    if has_host(state.app) and not is_alone(state.app):
        settings = host_of(state.app).pipeline.settings
        found += [dict(work_queue(name, settings).as_dict(recurse=True)) for name in queues_of(state.app)]
    return found
