"""`events.install(app)` is cheap, reads the app's broker, and refuses what can't be right with one line."""

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

import events
from events import ConfigurationError
from events.settings import environment
from events.settings.environment import load_settings
from events.testing import InlinePipeline
from events.worker.app_broker import broker_of
from events.worker.celery_app import LedgerApp
from events.worker.fitness import fit_in
from events.worker.host import Host
from events.worker.tasks import DeliveryTask

PROGRAM = """
import socket, sys, threading
def connect(*_, **__): raise AssertionError("it connects")
socket.socket.connect = connect
from celery import Celery
import events
app = Celery("shop", broker="redis://nowhere:6379/0")
begun = threading.active_count()
events.install(app)
heavy = {"redis", "prometheus_client", "handlers", "events.worker.joining", "events.worker.ledger_step"}
print(app.configured, app.finalized, threading.active_count() - begun, sorted(heavy & {*sys.modules}))
"""


@pytest.fixture(autouse=True)
def _no_stand_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(environment, "_stand_ins", {})
    for name in ("EVENTS_BROKER_URL", "EVENTS_HANDLERS", "REDIS_URL", "AMQP_URL", "CLOUDAMQP_URL"):
        monkeypatch.delenv(name, raising=False)
    return


def app_with(**settings: Any) -> Celery:
    app = Celery("shop", set_as_current=False)
    app.conf.update(settings)
    return app


def test_it_connects_to_nothing_and_loads_nothing_of_a_worker() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ended.stdout == "False False 0 []\n"


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("rediss://:p%40@h/0", "rediss://:p%40@h/0"),
        ("pyamqp://u:p@h//", "amqp://u:p@h//"),
        ("amqp://", "amqp://localhost"),
        ("redis:///1", "redis://localhost/1"),
        (["amqp://a//", "amqp://b//"], "amqp://a//;amqp://b//"),
        (None, ""),
        ("memory://", ""),
        ("sqs://", ""),
        ("sentinel://h:26379", ""),
        ("redis+socket:///tmp/redis.sock", ""),
    ],
)
def test_the_broker_of_an_app_is_that_of_its_handlers_if_they_can_use_it(url: Any, ours: str) -> None:
    app = app_with(broker_url=url)
    assert broker_of(app) == ours
    events.install(app)
    assert load_settings().broker_url == ours


def test_a_broker_with_tls_options_of_celerys_is_not_used() -> None:
    assert broker_of(app_with(broker_url="rediss://h/0", broker_use_ssl={"ssl_cert_reqs": None})) == ""


def test_a_broker_with_a_prefix_for_all_keys_is_not_used() -> None:
    options = {"global_keyprefix": "shop:", "visibility_timeout": 60}
    assert broker_of(app_with(broker_url="redis://h/0", broker_transport_options=options)) == ""
    del options["global_keyprefix"]
    assert broker_of(app_with(broker_url="redis://h/0", broker_transport_options=options)) == "redis://h/0"


def test_only_our_own_variable_comes_before_the_broker_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an app with a broker, and a Redis that is there for something else
    events.install(app_with(broker_url="amqp://h//"))
    monkeypatch.setenv("REDIS_URL", "redis://cache/0")
    assert load_settings().broker_url == "amqp://h//"
    # When our own variable is set, Then that counts, even if it says that there is no broker
    monkeypatch.setenv("EVENTS_BROKER_URL", "redis://ours/0")
    assert load_settings().broker_url == "redis://ours/0"
    monkeypatch.setenv("EVENTS_BROKER_URL", "")
    assert load_settings().broker_url == ""


def test_a_second_install_names_the_first() -> None:
    app = app_with()
    events.install(app)
    with pytest.raises(ConfigurationError, match=r"app 'shop' has its handlers by .*test_installing\.py:\d+ already"):
        events.install(app)


def test_several_apps_may_each_have_handlers() -> None:
    events.install(app_with())
    events.install(app_with())


def test_what_is_no_app_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"takes the Celery app, and 'shop' is none"):
        events.install("shop")  # type: ignore[arg-type]


def test_the_app_of_our_own_worker_is_refused(events_pipeline: InlinePipeline) -> None:
    with pytest.raises(ConfigurationError, match="that is the app of `celery -A events worker`"):
        events.install(LedgerApp(Host(pipeline=events_pipeline, worker_counts=None)))  # type: ignore[arg-type]


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_pool_that_can_not_run_handlers_is_refused(
    pool: str, events_pipeline: InlinePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a worker of a test, which is not to end the process
    kind = type("TaskPool", (), {"__module__": f"celery.concurrency.{pool}"})
    worker = SimpleNamespace(app=app_with(), pool_cls=kind, use_eventloop=True)
    host = Host(pipeline=events_pipeline, worker_counts=None, alone=False)  # type: ignore[arg-type]
    # When it begins, Then no handler runs in it, and one line says why
    fit_in(worker, host)
    assert host.off.startswith(f"pool {pool} can't run handlers: start this worker with -P prefork, threads or solo")
    assert "no handler runs in this worker" in caplog.text


def test_a_handler_has_no_option_that_an_application_could_set_for_all_tasks(events_pipeline: InlinePipeline) -> None:
    # Given an app with settings that would break the promise
    app = app_with(
        task_acks_late=False, task_reject_on_worker_lost=True, task_acks_on_failure=False, task_acks_on_timeout=False,
        task_retry_on_worker_lost=True, task_ignore_result=False, task_default_rate_limit="1/h",
        task_store_errors_even_if_ignored=True, task_track_started=True,
        task_annotations={"*": {"acks_late": False, "rate_limit": "1/h", "time_limit": 1}},
    )  # fmt: skip
    # When a handler becomes a task of it
    task = type("Deliver", (DeliveryTask,), {"name": "hear", "pipeline": events_pipeline})()
    app.register_task(task)
    app.finalize()
    # Then it keeps its own
    assert (task.acks_late, task.acks_on_failure, task.acks_on_timeout) == (True, True, True)
    assert (task.reject_on_worker_lost, task.retry_on_worker_lost) == (False, False)
    assert (task.ignore_result, task.store_errors_even_if_ignored, task.track_started) == (True, False, False)
    assert (task.rate_limit, task.time_limit) == (None, None)
