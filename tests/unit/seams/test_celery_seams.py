"""What of Celery we lean on beyond its documentation."""

import inspect
import logging
import threading

import celery.app
import celery.app.amqp
import celery.app.control
import celery.app.log
import celery.app.task
import celery.app.trace
import celery.apps.worker
import celery.worker.consumer
import celery.worker.consumer.consumer
import celery.worker.loops
import celery.worker.state
import kombu
import pytest
from celery import Celery, _state
from celery.app.control import Inspect
from celery.app.task import Context
from celery.concurrency import get_implementation, prefork
from celery.concurrency.base import BasePool
from celery.exceptions import WorkerShutdown
from celery.worker import control
from celery.worker.consumer import Consumer
from celery.worker.consumer.delayed_delivery import DelayedDelivery
from celery.worker.request import Request
from celery.worker.strategy import default

from support.seam_checks import Library

CELERY = Library("celery")


def test_the_current_app_of_a_thread_can_be_read_without_making_one() -> None:
    leans = "LedgerApp, which leaves the application's own app the current one"
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(CELERY.has(_state._tls, "current_app", leans)))
    thread.start()
    thread.join()
    CELERY.keeps(found == [None], "a thread begins without a current app", leans)


def test_shared_tasks_come_to_each_app_by_one_method() -> None:
    leans = "LedgerApp, which has handlers only and none of the application's @shared_tasks"
    method = CELERY.has(Celery, "_task_from_fun", leans)
    CELERY.keeps(list(inspect.signature(method).parameters)[:2] == ["self", "fun"], "it is given the function", leans)
    CELERY.says(celery.app.shared_task, "app._task_from_fun(fun, **options)", leans=leans)


def test_inspecting_asks_by_one_method() -> None:
    leans = "remote control without a broker, which answers at once"
    CELERY.takes(Inspect, "_request", ["command", "kwargs"], leans)
    CELERY.says(Inspect.ping, "self._request('ping'", leans=leans)
    CELERY.says(celery.app.control.Control, "subclass_with_self(Inspect, reverse='control.inspect')", leans=leans)


def test_what_celery_says_past_its_log_goes_by_one_function() -> None:
    leans = "logs as JSON"
    CELERY.takes(celery.apps.worker, "safe_say", ["msg", "f"], leans)
    CELERY.says(celery.apps.worker, "safe_say(f'worker: {how} shutdown (MainProcess)', sys.__stdout__)", leans=leans)


def test_a_quiet_worker_prints_no_banner() -> None:
    CELERY.says(celery.apps.worker.Worker, "if not self.quiet: self.emit_banner()", leans="our first lines")


def test_a_flag_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    leans = "SIGHUP, which ends the worker and starts it again"
    CELERY.has(celery.worker.state, "should_stop", leans)
    monkeypatch.setattr(celery.worker.state, "should_stop", 0)
    with pytest.raises(WorkerShutdown):
        celery.worker.state.maybe_shutdown()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("create_task_handler", ["promise"]),
        ("on_decode_error", ["message", "exc"]),
        ("cancel_active_requests", []),
        ("connect", []),
        ("connection_for_read", ["heartbeat"]),
        ("connection_for_write", ["url", "heartbeat"]),
        ("ensure_connected", ["conn"]),
        ("on_connection_error_before_connected", ["exc"]),
        ("on_connection_error_after_connected", ["exc"]),
    ],
)
def test_the_consumer_has_these_methods(name: str, parameters: list[str]) -> None:
    leans = "events.worker.consumer.Consumer, which overrides it"
    CELERY.takes(Consumer, name, parameters, leans)
    CELERY.says(Consumer, "self.first_connection_attempt", "self.broker_connection_retry_attempt", leans=leans)
    source = inspect.getsource(celery.worker.consumer) + inspect.getsource(celery.worker.consumer.tasks)
    source += inspect.getsource(celery.worker.consumer.consumer) + inspect.getsource(celery.worker.consumer.connection)
    source += inspect.getsource(celery.apps.worker) + inspect.getsource(celery.worker.consumer.events)
    source += inspect.getsource(celery.worker.loops) + inspect.getsource(celery.worker.WorkController)
    calls = source.count(f".{name}") + source.count(f"on_decode_error={name}")
    CELERY.keeps(calls > 0, f"Celery itself calls {name}", leans)


def test_loggers_of_celery_have_these_names() -> None:
    leans = "the lines of a worker's log, which are ours instead of Celery's"
    for module, name in [
        (celery.app.trace, "celery.app.trace"),
        (celery.apps.worker, "celery.apps.worker"),
        (celery.worker.consumer.consumer, "celery.worker.consumer.consumer"),
        (celery.worker.consumer.connection, "celery.worker.consumer.connection"),
    ]:
        CELERY.keeps(module.logger.name == name, f"{module.__name__} has a logger {name!r}", leans)
    CELERY.keeps(
        "celery.worker.strategy" in logging.root.manager.loggerDict, "the strategy's logger is so called", leans
    )
    CELERY.says(celery.app.log, "name='celery.redirected'", leans=leans)
    CELERY.says(Consumer.on_connection_error_after_connected, "CONNECTION_RETRY", leans=leans)
    CELERY.has(celery.worker.consumer.consumer, "CONNECTION_RETRY", leans)


def test_the_step_for_delayed_tasks_is_among_the_consumers() -> None:
    leans = "events.worker.consumer, which leaves it out where it could do nothing"
    steps = [step for step in Consumer.Blueprint.default_steps if "delayed_delivery" in step]
    CELERY.keeps(len(steps) == 1, "the consumer has one step for delayed tasks", leans)
    CELERY.takes(DelayedDelivery, "include_if", ["c"], leans)


def test_the_strategy_takes_what_tells_of_a_message() -> None:
    leans = "events.worker.outcome_lines, where a message that came is said to who debugs"
    names = list(inspect.signature(default).parameters)
    CELERY.keeps(names[:4] == ["task", "app", "consumer", "info"], "the strategy takes `info`", leans)
    CELERY.says(default, "info(", leans=leans)


def test_requests_can_be_revoked_and_terminated() -> None:
    leans = "events.worker.revoking: a delivery is never dropped, and terminated only where it runs"
    CELERY.takes(Request, "revoked", [], leans)
    CELERY.takes(Request, "terminate", ["pool", "signal"], leans)
    CELERY.says(Request.terminate, "if self.time_start: pool.terminate_job(self.worker_pid, signal)", leans=leans)
    # A cold shutdown cancels without a retry, and a lost connection with one.
    CELERY.takes(Request, "cancel", ["pool", "signal", "emit_retry"], leans)
    CELERY.says(Consumer.cancel_active_requests, "emit_retry = not request.task.acks_late", leans=leans)
    CELERY.says(Consumer.on_connection_error_after_connected, "request.cancel(self.pool)", leans=leans)


def test_the_end_of_a_child_is_told_within_two_methods_of_its_request() -> None:
    leans = "events.worker.revoking: the signal that a child has died comes while its request's method runs"
    CELERY.takes(Request, "on_failure", ["exc_info", "send_failed_event", "return_ok"], leans)
    CELERY.takes(Request, "on_timeout", ["soft", "timeout"], leans)
    CELERY.says(Request.on_failure, "signals.task_failure.send(sender=self.task", leans=leans)
    CELERY.says(Request.on_timeout, "signals.task_failure.send( sender=self.task", leans=leans)
    CELERY.says(Request.on_accepted, "self.worker_pid = pid", leans=leans)


def test_commands_of_remote_control_are_functions() -> None:
    leans = "events.worker.revoking: an application's own tasks can be revoked"
    CELERY.takes(control, "revoke", ["state", "task_id", "terminate", "signal", "kwargs"], leans)
    CELERY.takes(control, "revoke_by_stamped_headers", ["state", "headers", "terminate", "signal", "kwargs"], leans)
    leans = "events.worker.consuming: which queues a worker reads can be changed"
    of_a_queue = ["state", "queue", "exchange", "exchange_type", "routing_key", "options"]
    CELERY.takes(control, "add_consumer", of_a_queue, leans)
    CELERY.takes(control, "cancel_consumer", ["state", "queue", "_"], leans)
    CELERY.takes(control, "active_queues", ["state"], leans)


def test_queues_are_chosen_by_these_methods() -> None:
    leans = "events.worker.fitness: -Q and -X name queues of handlers, which Celery itself doesn't read"
    # Given the queues of an app, to which one of handlers is added
    queues = Celery("shop", set_as_current=False).amqp.queues
    queues.select_add(kombu.Queue("events"))
    CELERY.keeps(set(queues.consume_from) == {"celery", "events"}, "it is read without -Q", leans)
    # When -X or -Q leaves it out, Then it isn't
    queues.deselect(["events"])
    CELERY.keeps(set(queues.consume_from) == {"celery"}, "it can be left out", leans)
    queues.select(["events"])
    CELERY.keeps(set(queues.consume_from) == {"events"}, "it can be the only one", leans)


@pytest.mark.parametrize("name", ["expires", "eta", "retries", "callbacks", "errbacks", "chain", "chord", "group"])
def test_headers_that_celery_acts_upon_are_attributes_of_the_context(name: str) -> None:
    CELERY.keeps(name in vars(Context), f"a task's Context has {name!r}", "the check of messages before Celery's")


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads"])
def test_pools_are_known_by_their_modules(pool: str) -> None:
    leans = "the ledger step: children to end, connections to keep"
    found = get_implementation(pool).__module__.rpartition(".")[2]
    CELERY.keeps(
        found == pool.removesuffix("s"), f"the pool {pool!r} is in the module {pool.removesuffix('s')!r}", leans
    )
    CELERY.has(BasePool, "maintain_pool", leans)
    CELERY.says(prefork.TaskPool.on_start, "self.maintain_pool = P.maintain_pool", leans=leans)
    CELERY.says(celery.worker.WorkController, "self.pool_cls = ", leans=leans)


def test_a_worker_knows_what_it_has_taken() -> None:
    leans = "the drain, and the look whether a worker is idle"
    for name in ("requests", "reserved_requests", "active_requests", "total_count"):
        CELERY.has(celery.worker.state, name, leans)
    CELERY.keeps(callable(celery.worker.state.maybe_shutdown), "maybe_shutdown() ends a worker that is to end", leans)
    CELERY.says(
        celery.worker.state.task_reserved,
        "add_request(request.id, request)",
        "add_reserved_request(request)",
        leans=leans,
    )
    CELERY.says(celery.worker.state.task_accepted, "add_active_request(request)", "total_count", leans=leans)


def test_a_pool_tells_its_children() -> None:
    leans = "the end of a worker whose handlers don't end in time"
    CELERY.has(BasePool, "info", leans)
    CELERY.says(prefork.TaskPool._get_info, "'processes': [p.pid for p in self._pool._pool]", leans=leans)


def test_all_ways_to_send_come_to_one_method_which_publishes_by_the_producer_it_is_given() -> None:
    leans = "the outbox of plain tasks"
    CELERY.says(celery.app.task.Task.apply_async, "app.send_task(", leans=leans)
    CELERY.says(
        Celery.send_task,
        "with self.producer_or_acquire(producer) as P:",
        "with P.connection._reraise_as_library_errors():",
        "amqp.send_task_message(P, name, message, **options)",
        leans=leans,
    )
    CELERY.says(celery.app.amqp.AMQP._create_task_sender, "producer.publish(body, **publish_kwargs)", leans=leans)


def test_settings_that_are_changed_later_are_known_apart() -> None:
    app = Celery("changing", set_as_current=False)
    before = dict(CELERY.has(app.conf, "changes", "templates of messages"))
    app.conf.task_default_queue = "other"
    CELERY.keeps(app.conf.changes != before, "changed settings are in `changes`", "templates of messages")


def test_a_result_that_is_ignored_is_not_waited_for() -> None:
    result = Celery("ignoring", set_as_current=False).AsyncResult("an-id")
    result.ignored = True
    CELERY.keeps(result.get() is None, "an ignored result is None at once", "exactly-once tasks")


def test_a_task_is_traced_by_one_function() -> None:
    CELERY.takes(
        celery.app.trace, "trace_task", ["task", "uuid", "args", "kwargs", "request", "opts"], "tasks without a broker"
    )
