"""What `events.install(app)` does in a worker of that app, once Celery has imported the application's modules."""

from importlib.util import find_spec
from typing import Any
from weakref import WeakSet

from billiard import current_process
from celery import Celery, current_task, signals

from events.bridges import REASONS as OF_BRIDGES
from events.current_pipeline import get_pipeline, serve
from events.errors import ConfigurationError
from events.handling import all_handlers, check_needs, load_handlers
from events.monitoring import WorkerCounts
from events.pipeline import Pipeline, late_handlers
from events.worker import consuming, revoking  # noqa: F401 - these register commands of remote control
from events.worker.bridges_step import BridgesStep
from events.worker.exits import or_exit
from events.worker.fitness import add_queues
from events.worker.host import Host, has_host, host_of, lend_host
from events.worker.ledger_inlet import InletStep
from events.worker.ledger_step import LedgerStep
from events.worker.monitoring_step import MonitoringStep
from events.worker.outcome_lines import OutcomeLines
from events.worker.parking import ALL_REASONS
from events.worker.presence_step import PresenceStep
from events.worker.signals import leave_signals_to_parent
from events.worker.tasks import DeliveryTask, delivery_task, record_lost_process

_joined: WeakSet[Celery] = WeakSet()


def join(app: Celery) -> None:
    """Make handlers a part of this app's workers, once. Raises EventsError if they can't be loaded."""
    if app in _joined:  # Celery may import an application's modules again
        return
    _joined.add(app)
    serve()
    pipeline = get_pipeline()
    modules = pipeline.settings.handlers
    if "handlers" in pipeline.settings.model_fields_set or find_spec(modules[0]) is not None:
        load_handlers(modules)  # if not, handlers are in modules that Celery imports, or there are none
    app.steps["worker"] |= {LedgerStep, PresenceStep, BridgesStep, MonitoringStep}
    app.steps["consumer"].add(InletStep)
    lend_host(app, lambda: _host(app, pipeline))

    def name_queues(instance: Any = None, **_: Any) -> None:
        if instance.app is app:
            or_exit(lambda: add_queues(app, pipeline))

    def child_started(**_: Any) -> None:
        if has_host(app):
            host = host_of(app)
            pipeline.deliverers.clear()  # their heartbeat threads live only in the parent
            leave_signals_to_parent(host.draining, _runs_handler)
            host.worker_counts.enter(getattr(current_process(), "index", None))

    def ends(**_: Any) -> None:
        pipeline.provided.close()

    for end in (signals.worker_process_shutdown, signals.worker_shutdown):
        end.connect(ends, weak=False)
    signals.celeryd_init.connect(name_queues, weak=False)
    signals.worker_process_init.connect(child_started, weak=False)
    signals.task_failure.connect(record_lost_process, weak=False)


def _runs_handler() -> bool:
    return getattr(current_task, "pipeline", None) is not None


def _host(app: Celery, pipeline: Pipeline) -> Host:
    """The host of a worker that begins; makes each handler a task of the app. Raises ConfigurationError."""
    pipeline.register_bridges()
    late_handlers()
    check_needs()
    handlers = list(all_handlers())
    for handler in handlers:
        there = app.tasks.get(handler.name)
        if there is None:
            app.register_task(delivery_task(handler, pipeline))
        elif not isinstance(there, DeliveryTask):
            raise ConfigurationError(
                f"handler {handler.name!r} ({handler.defined_at}) has the name of a Celery task of "
                f"{there.__module__}: give the handler another, @handles(..., name=...)"
            )
    pairs = [(event.event_name, handler.name) for handler in handlers for event in handler.events]
    host = Host(pipeline=pipeline, worker_counts=WorkerCounts(pairs, (*ALL_REASONS, *OF_BRIDGES)), alone=False)
    pipeline.hooks.replace(host.worker_counts, host.relay_counts, OutcomeLines())
    return host
