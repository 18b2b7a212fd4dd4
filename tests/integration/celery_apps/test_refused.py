"""What would break the promise on an application's app ends the worker with one line, which names the cure."""

from pathlib import Path

import pytest

from events import publish
from shop import OrderPlaced
from support.market import Market

APP = """
import os
from celery import Celery, shared_task
import events
app = Celery("stall", broker=os.environ["MARKET_BROKER_URL"])
app.conf.task_default_queue = os.environ["MARKET_QUEUE"]
"""


def stall(market: Market, program: str, handlers: str = "") -> None:
    """An application of two modules, in the market's folder."""
    package = market.folder / "stall"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "celery.py").write_text(APP + program)
    (package / "handlers.py").write_text(handlers)
    market.environment["PYTHONPATH"] += f":{market.folder}"


def line_of(market: Market, app: str, *options: str) -> str:
    """The line with which a worker ends."""
    ended = market.run("celery", "-A", app, "worker", "-c", "1", "-l", "WARNING", *options)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "events.errors" not in ended.stderr  # no traceback of ours
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("events: ")]
    return line


def test_a_task_with_the_name_of_a_handler(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        stall(market, "events.install(app)\n@shared_task(name='book_order')\ndef book(): ...\n")
        line = line_of(market, "stall")
        assert line.startswith("events: handler 'book_order' (")
        assert "has the name of a Celery task of stall.celery: give the handler another, @handles(" in line


def test_a_queue_of_plain_tasks_and_of_handlers(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        market.environment["EVENTS_QUEUE"] = market.queue
        line = line_of(market, "market")
        assert line.startswith(f"events: queue {market.queue!r} is one of the Celery app's own queues, and of handlers")
        assert "set EVENTS_QUEUE, or name another by @handles(..., queue=...)" in line


def test_a_broker_without_an_event_loop(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        market.environment["MARKET_BROKER_URL"] = "filesystem://"
        assert "handlers need a broker with which Celery has an event loop" in line_of(market, "market")


def test_handlers_that_can_not_be_imported(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        market.environment["EVENTS_HANDLERS"] = "not_there"
        assert "EVENTS_HANDLERS: can't import 'not_there'" in line_of(market, "market")


def test_a_ledger_without_tables(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        market.environment["EVENTS_DATABASE_URL"] = f"sqlite:///{tmp_path / 'other.db'}"
        assert "events migrate" in line_of(market, "market")


def test_a_second_install(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        stall(market, "events.install(app)\nevents.install(app)\n")
        ended = market.run("celery", "-A", "stall", "worker")
        assert ended.returncode != 0
        assert "app 'stall' has its handlers by" in ended.stderr
        assert "remove one of the two calls" in ended.stderr


def test_handlers_may_be_in_the_modules_of_the_app_alone(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given an app whose handlers are in a module that Celery imports, and no EVENTS_HANDLERS
        handlers = "from events import handles\nfrom shop import OrderPlaced\nfrom market.noted import note\n\n"
        handlers += "@handles(OrderPlaced)\ndef heard(event: OrderPlaced) -> None:\n    note(f'heard {event.order}')\n"
        stall(market, "events.install(app)\napp.autodiscover_tasks(['stall'], related_name='handlers')\n", handlers)
        del market.environment["EVENTS_HANDLERS"]
        # When a worker runs, Then they are there
        market.start(["celery", "-A", "stall", "worker", "-c", "1", "-n", "s@test"])
        publish(OrderPlaced(order="7"))
        market.noted("heard 7")


@pytest.mark.parametrize("first", ["stall.celery", "stall.handlers"])
def test_a_module_of_handlers_that_imports_the_app(first: str, tmp_path: Path) -> None:
    handlers = """
from events import handles
from shop import OrderPlaced
from market.noted import note
from stall.celery import app

@app.task
def mail(order):
    note(f"mailed {order}")

@handles(OrderPlaced)
def mail_order(event: OrderPlaced) -> None:
    mail.delay(event.order)
"""
    with Market("redis", tmp_path).in_use() as market:
        # Given handlers that import the app whose workers import them, whichever module is first
        stall(market, "app.conf.include = ['stall.handlers']\nevents.install(app)\n", handlers)
        market.environment["EVENTS_HANDLERS"] = "stall.handlers"
        assert market.ask(f"import {first}\nprint('imported')") == ["imported"]
        # When a worker runs, and a handler sends a plain task
        worker = market.start(["celery", "-A", "stall", "worker", "-c", "2", "-l", "INFO", "-n", "s@test"])
        worker.wait_for("ready.")
        publish(OrderPlaced(order="7"))
        # Then a worker of that app runs it
        market.noted("mailed 7")


def test_another_broker_for_handlers_is_said(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given EVENTS_BROKER_URL that names another broker than the app's
        other = market.broker_url.removesuffix("/0") + "/1"
        market.environment["EVENTS_BROKER_URL"] = other
        worker = market.start_market()
        # Then a line says which is whose, and both kinds run
        worker.wait_for(f"handlers use EVENTS_BROKER_URL, {other}; the app's broker_url is {market.broker_url}")
        publish(OrderPlaced(order="1"))
        market.settled(3)
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]


def test_a_program_that_publishes_and_sends_connects_to_no_broker_for_that(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given a broker that is away
        market.take_broker_away()
        # When a web process imports the app and publishes
        market.ask("import events, shop\nevents.publish(shop.OrderPlaced(order='1'))")
        # Then the event is there when the broker is
        market.bring_broker_back()
        market.start_market()
        market.settled(3)


def test_a_handler_is_not_sent_as_a_task(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given a worker
        worker = market.start_market()
        # When a program sends a handler by its name
        market.ask("app.send_task('book_order', serializer='pickle')")
        # Then it is told what to do
        worker.wait_for("book_order is a handler: publish its event to run it, OrderPlaced(...)")
