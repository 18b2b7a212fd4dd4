"""An outbox processor of another program works beside our workers: it marks events as processed by itself."""

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from events.ledger.overview import MarkedByOthers
from support.operator import events
from support.system import System
from support.waiting import eventually

HANDLER = "book_order"


class Processor:
    """Takes what is not processed, a few at a time, hands it to its own subscribers, and marks it."""

    def __init__(self, system: System) -> None:
        self._url = system.environment["EVENTS_DATABASE_URL"]
        self.marked: set[UUID] = set()

    def step(self) -> int:
        if self._url.startswith("sqlite"):
            connection = sqlite3.connect(make_url(self._url).database or "", timeout=30, isolation_level=None)
            query, mark = "", "?"
        else:
            connection = psycopg.connect(self._url)  # type: ignore[assignment]
            query, mark = " FOR UPDATE SKIP LOCKED", "%s"
        try:
            if not query:
                connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute(
                f"SELECT id FROM event_store WHERE processed = false ORDER BY timestamp LIMIT 7{query}"
            ).fetchall()
            for row in rows:
                connection.execute(f"UPDATE event_store SET processed = true WHERE id = {mark}", (row[0],))
            connection.commit()
        finally:
            connection.close()
        self.marked |= {UUID(str(row[0])) for row in rows}
        return len(rows)

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(0.01):
                with suppress(sqlite3.OperationalError):  # it may have waited for long
                    self.step()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def publishes(system: System, count: int, event_type: str = "OrderPlaced") -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    for one in ids:
        system.insert_as_foreign_program(one, event_type, json.dumps({"order": "o-1"}))
    return ids


def seen(system: System, command: str, *more: str) -> str:
    done = events(command, *more, environment=system.environment | {"COLUMNS": "200"}, folder=system.folder)
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("mode", ["sqlite", "postgres"])
def test_beside_it_no_event_is_lost(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, poll_interval="200ms").in_use() as system:
        processor = Processor(system)
        worker = system.start_worker()
        # Given another program's processor beside our worker; When 50 events are published, and 50 while the worker
        # is down
        with processor.running():
            ids = publishes(system, 50)
            eventually(lambda: {one for one in ids if system.effects(one)} == set(ids), "all of them are handled")
            assert worker.stop() == 0
            unseen = publishes(system, 50)
            eventually(lambda: set(unseen) <= processor.marked, "the other program has marked them all")
        assert "another program marks events as processed" in seen(system, "status")
        (wait,) = re.findall(r"(\d+) wait for the relay", seen(system, "doctor"))
        assert int(wait) >= 50  # handlers publish, too, and the other program may have been first
        system.start_worker()
        # Then each is handled once
        everything = [*ids, *unseen]
        eventually(lambda: {one for one in unseen if system.effects(one)} == set(unseen), "those as well")
        system.settled(len(system.deliveries(*everything)), *everything)
        effects = system.effects()
        assert {effects[(str(one), HANDLER)] for one in everything} == {1}
        # And an operator is told of it
        found = system.pipeline.ledger.overviews.marked_by_others()
        assert found.handled >= 50
        assert (found.waiting, found.left) == (0, 0)
        assert json.loads(seen(system, "status", "--json"))["marked_by_others"]["handled"] == found.handled
        (finding,) = [
            one for one in json.loads(seen(system, "doctor", "--json"))["findings"] if one["check"] == "processed"
        ]
        assert finding["level"] == "warning"
        assert f"{found.handled} of the last day were handled all the same" in finding["found"]
        assert "docs/migrating.md" in finding["cure"]
        log = "".join(process.log.read_text() for process in system.processes)
        assert "events as processed before they were fanned out; their handlers run all the same" in log


@pytest.mark.parametrize("mode", ["sqlite", "postgres"])
def test_what_it_marks_may_be_left_to_it(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, poll_interval="200ms", marked_by_others="leave").in_use() as system:
        processor = Processor(system)
        system.start_worker().stop()
        # Given events that another program has marked while our worker was down, and one that it hasn't
        theirs = publishes(system, 7)
        assert processor.step() == 7
        (ours,) = publishes(system, 1)
        # When a worker comes, then it handles that one
        system.start_worker()
        eventually(lambda: system.effects(ours), "it is handled")
        marked = system.pipeline.ledger.overviews.marked_by_others
        eventually(lambda: marked() == MarkedByOthers(left=7), "the others are left")
        assert system.deliveries(*theirs) == []
        assert "7 of the last day were left to it" in seen(system, "status")
        assert "EVENTS_MARKED_BY_OTHERS=handle" in seen(system, "doctor")
