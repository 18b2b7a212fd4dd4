"""Docs/threats.md, held: what somebody can't who has the broker's credentials.

What the page says of others is held by: tests/integration/webhooks (inbound HTTP: tokens, signatures, sizes, slow and
many clients), tests/unit/bridges/test_http_reading.py (captured requests), test_acceptance.py there (private events),
test_masking.py there (masks), tests/faults/test_parked.py (messages of every shape), test_broker_loss.py there (what is
taken away), tests/integration/test_revoking.py (revoke, terminate), test_flower_access.py and test_flower_pages.py
there (logins, other sites, HTML), test_terminal.py there and tests/unit/text/test_escaping.py (terminals, logs),
tests/integration/test_bridge_command.py (command lines), tests/unit/store/test_files.py (files).
"""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from kombu import Producer
from sqlalchemy import text

import shop
from events import DomainEvent, publish
from events.ledger.records import Wakeup
from events.transport.message import wakeup_message
from support.messages import Sender
from support.system import BROKERS, Process, System
from support.waiting import eventually


@pytest.fixture(scope="module", params=sorted(BROKERS))
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(request.param, tmp_path_factory.mktemp(request.param), lease="60s", stale_after="60s").in_use() as made:
        made.start_worker()
        yield made


@pytest.fixture
def sender(system: System) -> Iterator[Sender]:
    sender = Sender(system)
    yield sender
    sender.close()


class Bomb:
    """What touches a file as soon as somebody unpickles it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self._file,)


def ask(system: System, worker: str, command: str, **arguments: Any) -> list[Any]:
    """What this worker answers to a command of remote control."""
    with Celery(broker=system.environment["EVENTS_BROKER_URL"], set_as_current=False) as app:
        answers = app.control.broadcast(command, arguments=arguments, destination=[worker], reply=True, timeout=20,
                                        limit=1)  # fmt: skip
    return [answer for one in answers or () for answer in one.values()]


def name_of(system: System, number: int = 0) -> str:
    return f"w{number}-{system.environment['EVENTS_QUEUE']}@test"


def parked(system: System) -> int:
    return sum(system.pipeline.parked.counts().values())


def still_works(system: System, worker: Process) -> None:
    event = shop.AsyncWork()
    publish(event)
    assert system.settled(1, event.event_id) == {"succeeded": 1}
    assert worker.alive()


def test_a_pickle_in_a_queue_or_in_remote_control_is_run_by_nobody(
    system: System, sender: Sender, tmp_path: Path
) -> None:
    # Given a pickle that does something when it is read
    file, before = tmp_path / "done", parked(system)
    bomb = pickle.dumps(Bomb(file))
    # When it comes as the body of a wake-up, and by remote control
    event = shop.AsyncWork()
    headers = wakeup_message((Wakeup(event.event_id, "works_async", sender.queue, 1),)).headers
    sender.send(bomb, headers, "application/x-python-serialize", "binary")
    with Celery(broker=system.environment["EVENTS_BROKER_URL"], set_as_current=False) as app:
        exchange = app.control.mailbox.exchange
        with app.connection_for_write() as connection, connection.channel() as channel:
            Producer(channel, exchange, serializer="pickle").publish(Bomb(file), declare=[exchange])
    # Then both are parked, and nothing was done
    eventually(lambda: parked(system) == before + 2, "both are parked", 30)
    assert not file.exists()
    # And the worker goes on, and hears remote control
    still_works(system, system.processes[0])
    assert ask(system, name_of(system), "ping") == [{"ok": "pong"}]
    pickle.loads(bomb)
    assert file.exists()  # it would have been


def row(system: System, event_id: UUID) -> Any:
    (found,) = system.deliveries(event_id)
    return found


def is_done(system: System, _: Path) -> tuple[DomainEvent, str]:
    event = shop.AsyncWork()
    publish(event)
    system.settled(1, event.event_id)
    return event, "works_async"


def is_dead(system: System, _: Path) -> tuple[DomainEvent, str]:
    event = shop.NeverRetried()
    publish(event)
    system.settled(1, event.event_id)
    return event, "refuses"


def waits_for_its_time(system: System, folder: Path) -> tuple[DomainEvent, str]:
    event, handler = is_dead(system, folder)
    later = "UPDATE event_deliveries SET state = 'pending', due_at = now() + interval '1 day' WHERE event_id = :id"
    with system.pipeline.ledger.engine.begin() as connection:
        connection.execute(text(later), {"id": event.event_id})
    return event, handler


def is_paused(system: System, _: Path) -> tuple[DomainEvent, str]:
    system.pipeline.upkeep.pause("never_works", "ann")
    event = shop.AlwaysFails()
    publish(event)
    eventually(lambda: system.states(event.event_id) == {"paused": 1}, "it is paused")
    return event, "never_works"


def runs(system: System, folder: Path) -> tuple[DomainEvent, str]:
    event = shop.Patient(release=str(folder / "release"))
    publish(event)
    eventually(lambda: system.starts(event.event_id), "it runs")
    return event, "waits_then_writes"


@pytest.mark.parametrize("given", [is_done, is_dead, waits_for_its_time, is_paused, runs])
def test_a_forged_wake_up_runs_nothing(
    system: System, sender: Sender, given: Callable[[System, Path], tuple[DomainEvent, str]], tmp_path: Path
) -> None:
    # Given a delivery that nobody may start now
    event, handler = given(system, tmp_path)
    before, started = row(system, event.event_id), len(system.starts(event.event_id))
    # When somebody sends wake-ups for it, for this attempt, those before and those to come
    log = system.processes[0].log
    said = log.read_text().count(f"{event.event_id} -> {handler} not ours")
    attempts = sorted({1, before.attempts, before.attempts + 1, before.attempts + 2} - {0})
    for attempt in attempts:
        sender.send_wakeup(event.event_id, handler, attempt)

    def refused() -> int:
        return log.read_text().count(f"{event.event_id} -> {handler} not ours") - said

    eventually(lambda: refused() == len(attempts), "all are refused", 30)
    # Then nothing is started, and its row is as it was
    assert len(system.starts(event.event_id)) == started
    after = row(system, event.event_id)
    assert (after.state, after.attempts, after.due_at if given is not runs else 0) == (
        before.state, before.attempts, before.due_at if given is not runs else 0,
    )  # fmt: skip
    (tmp_path / "release").touch()
    if given is runs:
        assert system.settled(1, event.event_id) == {"succeeded": 1}
        assert system.effects(event.event_id) == {(str(event.event_id), handler): 1}


def test_a_wake_up_for_another_s_handler_is_parked(system: System, sender: Sender, tmp_path: Path) -> None:
    event, _ = is_done(system, tmp_path)
    before = system.pipeline.parked.counts().get("no such delivery", 0)
    sender.send_wakeup(event.event_id, "book_order")
    eventually(lambda: system.pipeline.parked.counts().get("no such delivery") == before + 1, "it is parked", 30)
    assert system.effects(event.event_id) == {(str(event.event_id), "works_async"): 1}


def test_remote_control_imports_nothing(system: System) -> None:
    # Given a module that does something when it is imported, where the worker finds it
    (system.folder / "nasty.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    # When its pool shall be restarted with it, or what nobody knows is asked for
    (said,) = ask(system, name_of(system), "pool_restart", modules=["nasty"], reload=True)
    assert "not enabled" in str(said)
    ask(system, name_of(system), "ping", no="such argument")
    # Then it isn't imported, and the worker goes on
    assert not (system.folder / "imported").exists()
    still_works(system, system.processes[0])
