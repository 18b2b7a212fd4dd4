"""The commands of Celery, and of Flower, for an application's app with handlers."""

import json
import urllib.request
from pathlib import Path

import pytest

from events import publish
from shop import OrderPlaced, Patient
from support.market import Market
from support.private_servers import free_port
from support.size import alike
from support.waiting import eventually


@pytest.mark.parametrize("mode", ["redis", alike("rabbitmq")])
def test_inspect_and_control_reach_both_kinds(mode: str, tmp_path: Path) -> None:
    with Market(mode, tmp_path).in_use() as market:
        # Given a worker in the midst of a handler and of a plain task
        market.start_market()
        release, never = tmp_path / "release", tmp_path / "never"
        event = Patient(release=str(release))
        publish(event)
        (task,) = market.ask(f"print(slowly.delay({str(never)!r}).id)")
        market.noted("slowly")
        eventually(lambda: market.starts(event.event_id), "the handler runs")
        # When it is asked what it does, Then it names both
        only = ("-d", market.worker_names[-1])  # other tests' workers may have the same broker
        active = market.run(*market.celery("inspect", "active", "--json", *only))
        (requests,) = json.loads(active.stdout).values()
        assert {one["name"] for one in requests} == {"waits_then_writes", "market.tasks.slowly"}
        registered = market.run(*market.celery("inspect", "registered", *only))
        assert "book_order" in registered.stdout
        assert "market.tasks.add" in registered.stdout
        # When both are revoked, Then the plain task is, and the delivery is not
        (delivery,) = (one["id"] for one in requests if one["name"] == "waits_then_writes")
        refused = market.run(*market.celery("control", *only, "revoke", delivery))
        assert "deliveries can't be revoked" in refused.stdout + refused.stderr
        market.run(*market.celery("control", *only, "terminate", "KILL", task))
        assert market.ask(
            f"from celery.result import AsyncResult\nprint(type(AsyncResult({task!r}, app=app)"
            ".get(timeout=60, propagate=False)).__name__)"
        ) == ["TaskRevokedError"]
        release.touch()
        assert market.settled(1) == {"succeeded": 1}
        assert len(market.starts(event.event_id)) == 1


def test_beat_runs_alone_and_connects_to_no_ledger(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        market.start_market()
        beat = market.start(market.celery("beat", "-l", "INFO", "--pidfile", str(tmp_path / "beat.pid")))
        beat.wait_for("Sending due task tick")
        market.noted("ticked", 2)
        assert beat.stop() == 0


@pytest.mark.parametrize("how", ["multi", "detach"])
def test_workers_in_the_background(how: str, tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given a worker that Celery starts in the background
        pid, log = tmp_path / "w.pid", tmp_path / "w.log"
        options = ["-c", "2", f"--pidfile={pid}", f"--logfile={log}", "-l", "INFO"]
        if how == "multi":
            begun = market.run("celery", "-A", "market", "multi", "start", "w@test", *options)
        else:
            begun = market.run(*market.celery("worker", "--detach", "-n", "w@test", *options))
        assert begun.returncode == 0, begun.stderr
        eventually(lambda: log.exists() and "ready." in log.read_text(), "the worker is ready")
        # When both kinds of work come, Then both are done
        publish(OrderPlaced(order="1"))
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]
        market.settled(3)
        # When it is told to end, Then it does
        market.run("celery", "multi", "stopwait", "w@test", f"--pidfile={pid}", f"--logfile={log}")
        eventually(lambda: not pid.exists(), "the worker has ended")


def test_flower_shows_the_tabs(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given the two lines in flowerconfig.py, and no setting of a broker but that of the app
        (tmp_path / "flowerconfig.py").write_text("from events.monitoring.flower import install\ninstall()\n")
        market.start_market()
        publish(OrderPlaced(order="1"))
        market.settled(3)
        port = free_port()
        flower = market.start(market.celery("flower", f"--port={port}", "--address=127.0.0.1"))

        # When the tab is asked for, Then it shows the handlers
        def shown() -> bool:
            assert flower.alive(), flower.log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/event-handlers", timeout=30) as page:
                    return "book_order" in page.read().decode()
            except OSError:  # it does not listen yet
                return False

        eventually(shown, "the tab shows the handlers")
