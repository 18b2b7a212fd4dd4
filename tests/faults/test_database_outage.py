"""A database that goes away under a working worker: few words, no failures, and everything is done afterwards."""

import time
from pathlib import Path

import pytest

import shop
from events import publish
from rigs.chaos.proxy import Proxy
from support.size import sized
from support.system import System
from support.waiting import eventually

OUTAGE = sized(5.0, 30.0)  # seconds


@pytest.mark.parametrize("mode", ["postgres", "redis"])
def test_a_database_that_is_away_for_a_while_costs_nothing_but_time(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given a worker under load, whose way to the database can be cut
        url = system.environment["EVENTS_DATABASE_URL"]
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        proxy = Proxy(port)
        try:
            worker = system.start_worker(database_url=url.replace(f":{port}", f":{proxy.port}"))
            events = [shop.OrderPlaced(order=str(number)) for number in range(300)]
            publish(events)
            eventually(lambda: system.states()["succeeded"] > 20, "the worker is at work")
            # When it is cut for some seconds
            before = len(worker.log.read_text().splitlines())
            proxy.cut()
            began = time.monotonic()
            eventually(lambda: time.monotonic() - began > OUTAGE, "the outage has lasted")
            said = worker.log.read_text().splitlines()[before:]
            proxy.heal()
            # Then the worker has said little about it: at most a line a second, beside what Celery says of its tasks
            complaints = [line for line in said if "WARNING" in line or "ERROR" in line or "Traceback" in line]
            assert len(complaints) <= OUTAGE + 2, complaints
            assert not any("Traceback" in line for line in said)
            # And everything is done once, with what it caused; nothing is dead
            assert system.settled(900, timeout=90) == {"succeeded": 900}
            assert set(system.effects().values()) == {1}
            assert worker.stop() == 0
        finally:
            proxy.close()
