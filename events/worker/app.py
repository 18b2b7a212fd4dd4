"""Builds the Celery app of a pipeline: a task for each handler, the relay as a bootstep, settings in three layers."""

from typing import Any

from billiard import current_process
from billiard import pool as billiard_pool
from celery import signals

from events.bridges import REASONS as OF_BRIDGES
from events.handling import all_handlers, check_needs
from events.monitoring import WorkerCounts
from events.pipeline import Pipeline, late_handlers
from events.worker import config, consuming, revoking  # noqa: F401 - these register commands of remote control
from events.worker.bridges_step import BridgesStep
from events.worker.celery_app import LedgerApp
from events.worker.host import Host
from events.worker.ledger_inlet import InletStep
from events.worker.ledger_step import LedgerStep
from events.worker.logs import log_in_json, log_in_text
from events.worker.monitoring_step import MonitoringStep
from events.worker.outcome_lines import OutcomeLines
from events.worker.parking import ALL_REASONS
from events.worker.presence_step import PresenceStep
from events.worker.signals import leave_signals_to_parent
from events.worker.startup_lines import FirstLines
from events.worker.tasks import delivery_task, record_lost_process

_LAST_WORDS = 10  # tenths of a second that a child waits at its end for the main process


def build_app(pipeline: Pipeline) -> LedgerApp:
    """The app behind `celery -A events`; handlers must be loaded.

    Raises:
        ConfigurationError: the application's celeryconfig.py breaks the promise; a bridge's URL is wrong.
    """
    settings = pipeline.settings
    pipeline.register_bridges()
    late_handlers()
    check_needs()
    handlers = list(all_handlers())
    longest = config.longest_limit(settings)
    pairs = [(event.event_name, handler.name) for handler in handlers for event in handler.events]
    host = Host(pipeline=pipeline, worker_counts=WorkerCounts(pairs, (*ALL_REASONS, *OF_BRIDGES)))
    app = LedgerApp(host)
    for watcher in (host.worker_counts, host.relay_counts, OutcomeLines()):
        pipeline.hooks.add(watcher)
    app.conf.update(config.default_settings(settings))
    app.conf.update(config.application_settings())
    app.conf.update(
        config.required_settings(settings, [handler.queue for handler in handlers if handler.queue], longest)
    )
    for handler in handlers:
        app.register_task(delivery_task(handler, pipeline))
    app.steps["worker"].add(LedgerStep)
    app.steps["worker"].add(PresenceStep)
    app.steps["worker"].add(BridgesStep)
    app.steps["worker"].add(MonitoringStep)
    app.steps["consumer"].add(InletStep)

    def child_started(**_: Any) -> None:
        app.give_way()
        pipeline.deliverers.clear()  # their heartbeat threads live only in the parent
        leave_signals_to_parent(host.draining)
        host.worker_counts.enter(getattr(current_process(), "index", None))
        # At its end a child waits until the main process has read all its results: for 30 s, if the main process is
        # ending, too. A message whose result isn't read is not acknowledged, but the ledger knows that it is done.
        billiard_pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = _LAST_WORDS

    def ends(**_: Any) -> None:
        pipeline.provided.close()

    for end in (signals.worker_process_shutdown, signals.worker_shutdown):
        end.connect(ends, weak=False)
    signals.worker_process_init.connect(child_started, weak=False)  # no other object holds a reference to this function
    signals.task_failure.connect(record_lost_process, weak=False)
    FirstLines(pipeline).listen()
    if settings.log_format == "json":
        log_in_json(pipeline.hooks)
    else:
        log_in_text()
    return app
