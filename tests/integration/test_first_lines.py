"""What a worker says first, and of each message that it takes: what somebody wants to know, and no more."""

import re
from pathlib import Path

import failing
import pytest

from events import publish
from support.flower import Flower
from support.system import BROKERS, MODES, Process, System
from support.waiting import eventually

NOISE = ("ledger://", "No hostname was supplied", "received", "succeeded in", "transport:", "Pool ")


def start(system: System, *options: str) -> Process:
    worker = system.start(["celery", *options])
    worker.wait_for("ready.")
    return worker


@pytest.mark.parametrize("level", ["", "INFO"])
@pytest.mark.parametrize("mode", ["sqlite", "postgres", "redis"])
def test_a_worker_says_what_it_stands_on_and_that_it_is_ready(mode: str, level: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="failing").in_use() as system:
        # When a worker starts, as the README says, or with lines of info
        worker = start(system, "-A", "events", "worker", "-c", "3", *(["-l", level] if level else []))
        log = worker.log.read_text()
        # Then it says which database
        database = str(tmp_path / "events.db") if mode == "sqlite" else system.pipeline.ledger.engine.url.database
        assert re.search(rf"database +(SQLite|PostgreSQL) {database}", log)
        # And which broker, without its password
        broker = (
            system.environment["EVENTS_BROKER_URL"] if mode in BROKERS else "none: this worker takes its deliveries"
        )
        assert re.search(rf"broker +{re.escape(broker)}", log)
        # And its handlers, with their events, and its pool
        assert re.search(r"handlers +asks_later <- AskedLater\n +counts_well <- CountedWell\n +feeds <- Fed\n", log)
        assert re.search(r"pool +prefork, 3 at a time", log)
        # And once that it is ready
        assert log.count("ready.") == 1
        assert not [word for word in NOISE if word in log]


def test_a_quiet_worker_says_nothing_but_its_log(tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="failing").in_use() as system:
        worker = start(system, "-q", "-A", "events", "worker", "-P", "threads", "-l", "INFO")
        assert "database" not in worker.log.read_text()


def test_where_nothing_was_configured_it_warns_of_the_file_in_this_folder(tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="failing").in_use() as system:
        # Given a migrated events.db in the folder, and no setting that names it
        del system.environment["EVENTS_DATABASE_URL"]
        # When a worker starts there
        worker = start(system, "-A", "events", "worker", "-P", "threads")
        # Then it says which file that is
        (warning,) = [line for line in worker.log.read_text().splitlines() if "EVENTS_DATABASE_URL is not set" in line]
        assert f"{tmp_path / 'events.db'}" in warning
        assert "WARNING" in warning


@pytest.mark.parametrize("mode", MODES)
def test_of_each_message_there_is_one_line(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="failing").in_use() as system:
        # Given a worker that logs at info
        worker = system.start_worker()
        # When deliveries come one by one
        events = [failing.CountedWell() for _ in range(5)]
        for number, event in enumerate(events, 1):
            publish(event)
            system.settled(number)
        # Then there is one line of each: what it was, and how long the handler took
        eventually(lambda: worker.log.read_text().count("-> counts_well ok") == 5, "all are told of")
        lines = worker.log.read_text().splitlines()
        for event in events:
            (line,) = [line for line in lines if str(event.event_id) in line]
            assert re.search(rf"CountedWell {event.event_id} -> counts_well ok [\d.]+ ms$", line)
        # And Celery says nothing of them, nor anybody anything else
        assert not [word for word in NOISE if word in worker.log.read_text()]


def test_flower_without_a_broker_starts_without_warnings(tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="failing").in_use() as system:
        # Given a Flower that has nobody to ask
        flower = Flower(system).answers()
        # When somebody looks at its pages
        flower.sees("/events")
        assert flower.get("/workers").status == 200
        flower.process.stop()
        # Then it has complained of nothing
        log = flower.process.log.read_text()
        assert "Broker: the ledger (no broker)" in log
        assert not re.search(r"^\[[WE] |WARNING|ERROR|No hostname|failed", log, re.MULTILINE), log
