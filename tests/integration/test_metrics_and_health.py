"""Metrics and health of real workers and relays, as somebody sees them who watches over HTTP."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

import shop
from events import publish
from events.ledger.parked import Parked
from rigs.chaos.proxy import Proxy
from support.messages import Sender
from support.monitoring import Port, listens
from support.system import System
from support.waiting import eventually


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System("redis", tmp_path).in_use() as system:
        yield system


def test_a_worker_counts_what_its_processes_did_though_one_was_killed(system: System, tmp_path: Path) -> None:
    # Given a worker at work on events of which some fail, some are repeated, and some die
    port = Port()
    worker = system.start_worker(**port.setting)
    held = shop.Held(release="never")
    publish(held)
    eventually(lambda: system.started_by(held.event_id), "it runs")
    # When the process that runs one of them is killed, and its successor works on
    (child,) = system.started_by(held.event_id)
    os.kill(child, signal.SIGKILL)
    system.settled(1, held.event_id)
    for events in ([shop.AsyncWork() for _ in range(5)], [shop.Flaky(works_on_attempt=2) for _ in range(2)],
                   [shop.AlwaysFails()], [shop.NeverRetried()]):  # fmt: skip
        publish(events)
        assert sum(system.settled(len(events), *(one.event_id for one in events)).values()) == len(events)
    sender = Sender(system)
    sender.send_raw(b"garbage")
    sender.close()
    # Then the numbers are exactly what happened
    done = {("AsyncWork", "works_async"): 5, ("Flaky", "works_later"): 2, ("Held", "held_open"): 1}
    failed = {("AlwaysFails", "never_works"): 2, ("Flaky", "works_later"): 2}
    dead = {("AlwaysFails", "never_works"): 1, ("NeverRetried", "refuses"): 1}
    eventually(lambda: port.counted("events_parked_total"), "the garbage is parked")
    eventually(lambda: port.counted("events_dead_total") == dead, "the last attempt is counted")
    assert port.counted("events_succeeded_total") == done
    assert port.counted("events_retried_total") == failed
    assert port.counted("events_handed_back_total") == {}
    assert port.counted("events_parked_total") == {("not a message",): 1}
    assert port.counted("events_expired_total") == {(): 1}
    tried = {pair: done.get(pair, 0) + failed.get(pair, 0) + dead.get(pair, 0) for pair in done | failed | dead}
    assert port.counted("events_handler_seconds_count") == tried
    assert port.counted("events_commit_to_done_seconds_count") == done
    # The first attempt of the held one ended with its process
    first = {("AsyncWork", "works_async"): 5, ("Flaky", "works_later"): 2, ("AlwaysFails", "never_works"): 1,
             ("NeverRetried", "refuses"): 1}  # fmt: skip
    assert port.counted("events_commit_to_start_seconds_count") == first
    # And so are those of the relay in it
    published = {("AsyncWork",): 5, ("Flaky",): 2, ("AlwaysFails",): 1, ("NeverRetried",): 1, ("Held",): 1}
    assert port.counted("events_published_total") == published
    made = {(*event_type, handler): published[event_type] for event_type, handler in (
        (("AsyncWork",), "works_async"), (("Flaky",), "works_later"), (("AlwaysFails",), "never_works"),
        (("NeverRetried",), "refuses"), (("Held",), "held_open"))}  # fmt: skip
    assert port.counted("events_fanned_out_total") == made
    assert port.counted("events_sent_total") == {pair: made[pair] + failed.get(pair, 0) + (pair[0] == "Held")
                                                 for pair in made}  # fmt: skip
    # And no pool process holds the port: neither one that was there from the start nor the successor
    late = shop.Patient(release=str(tmp_path / "release"))
    publish([late, shop.Patient(release=late.release)])
    eventually(lambda: len(pids := children(worker.pid)) == 2 and child not in pids, "there are two again")
    assert [pid for pid in (worker.pid, *children(worker.pid)) if listens(pid, port.number)] == [worker.pid]
    # When it is told to end while a handler runs
    eventually(lambda: system.started_by(late.event_id), "it runs")
    assert port.says("/readyz", 200) == {"status": "ready"}
    worker.terminate()
    # Then it is not ready any more, and lives; and ends when that is done
    assert port.says("/readyz", 503)["reasons"] == {"process": "the process is stopping"}
    assert port.says("/healthz", 200) == {"status": "ok", "stopping": True}
    Path(late.release).touch()
    assert worker.exit_code() == 0


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_relay_and_a_worker_that_leaves_it_to_the_relay_tell_each_their_part(system: System) -> None:
    # Given a ledger with a parked message, a relay, and a worker that doesn't relay
    of_relay, of_worker = Port(), Port()
    system.pipeline.ledger.parked.park(Parked(uuid4(), "q", "eta", "", b"", {}, "w"))
    system.start(["events", "relay"], **of_relay.setting)
    system.start_worker(relay="off", **of_worker.setting)
    of_relay.says("/readyz", 200)
    of_worker.says("/readyz", 200)
    # When an event is handled
    publish(event := shop.AsyncWork())
    system.settled(1, event.event_id)
    # Then the relay tells what it moved and what stands in the ledger, and the worker what it did
    pair = {("AsyncWork", "works_async"): 1}
    assert of_relay.counted("events_published_total") == {("AsyncWork",): 1}
    assert of_relay.counted("events_sent_total") == pair
    eventually(lambda: of_worker.counted("events_succeeded_total") == pair, "it is counted")
    assert "events_succeeded_total" not in of_relay.metrics()
    eventually(lambda: of_relay.counted("events_parked_messages") == {("eta",): 1}, "the ledger was looked at")
    assert "events_outbox_lag_seconds" not in of_worker.metrics()
    assert of_worker.get("/elsewhere")[0] == 404
    # When the broker is cut off
    system.take_broker_away()
    # Then both live, and neither is ready
    assert of_worker.says("/readyz", 503)["reasons"].keys() == {"consuming"}
    assert of_relay.says("/readyz", 503)["reasons"].keys() == {"broker"}
    assert (of_worker.get("/healthz")[0], of_relay.get("/healthz")[0]) == (200, 200)
    # And when it is back, so are they
    system.bring_broker_back()
    of_worker.says("/readyz", 200)
    of_relay.says("/readyz", 200)
    # When others want the same ports, then each ends at once, with one line that names the setting and the cure
    lates = [system.start(["events", "relay"], **of_relay.setting),
             system.start(["celery", "-A", "events", "worker", "-c", "1"], **of_worker.setting)]  # fmt: skip
    for late in lates:
        assert late.exit_code() == 1
        complaints = [line for line in late.log.read_text().splitlines() if line.startswith("events: ")]
        assert [line.partition("; ")[0].partition("=")[0] for line in complaints] == ["events: EVENTS_HTTP_PORT"]
        assert "is taken by another process; give each" in complaints[0]
        assert "Traceback" not in late.log.read_text()


def test_a_relay_whose_database_hangs_says_so_before_its_watchdog_ends_it(system: System) -> None:
    # Given a relay at work
    url = system.environment["EVENTS_DATABASE_URL"]
    server = int(url.rsplit(":", 1)[1].split("/")[0])
    proxy, port = Proxy(server), Port()
    try:
        through = url.replace(f":{server}", f":{proxy.port}")
        system.start(["events", "relay"], database_url=through, watchdog="6s", poll_interval="100ms", **port.setting)
        port.says("/readyz", 200)
        assert port.says("/healthz", 200) == {"status": "ok"}
        # When its database accepts everything and answers nothing
        proxy.hang()
        # Then it is not ready, and soon after it is said what hangs
        assert port.says("/readyz", 503)["reasons"].keys() == {"database"}
        assert port.says("/healthz", 503)["silent_for_seconds"].keys() == {"the relay"}
    finally:
        proxy.close()
