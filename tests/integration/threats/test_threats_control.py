"""Docs/threats.md, held: what a worker tells by remote control, its port and its log; and remote control, off."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import shop
from events import publish
from support.monitoring import Port
from support.system import System
from support.waiting import eventually

PASSWORD, WORDS = "s3cret-pass", "what-nobody-should-read"
FORGED = f"{WORDS}\r\n[2026-11-30 09:00:00,000: ERROR/MainProcess] forged \x1b[2J\x9b31m\u202e"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System("redis", tmp_path).in_use() as made:
        yield made


def secretive(system: System) -> dict[str, str]:
    """Settings whose URLs have passwords; the test servers take any."""
    database, broker = (system.environment[f"EVENTS_{one}_URL"] for one in ("DATABASE", "BROKER"))
    return {
        "database_url": database.replace("postgres@", f"postgres:{PASSWORD}@"),
        "broker_url": broker.replace("redis://", f"redis://default:{PASSWORD}@"),
    }


def ask(system: System, *workers: str, command: str, **arguments: Any) -> dict[str, Any]:
    """The answer of each."""
    found: dict[str, Any] = {}
    with Celery(broker=system.environment["EVENTS_BROKER_URL"], set_as_current=False) as app:
        said = app.control.broadcast(command, arguments=arguments, destination=workers, reply=True, timeout=3)
        for one in said or ():
            found |= one
    return found


def test_what_a_worker_tells_holds_no_password_and_no_data(system: System) -> None:
    # Given a worker with passwords in its URLs, that has handled an event, and one that fails
    settings, port, name = secretive(system), Port(), f"told-{system.environment['EVENTS_QUEUE']}@test"
    assert all(PASSWORD in url for url in settings.values())
    worker = system.start_worker(name=name, **settings, **port.setting)
    events = [shop.OrderPlaced(order=WORDS), shop.Held(release="never")]
    publish(events)
    eventually(lambda: system.started_by(events[1].event_id), "it runs")
    system.settled(2, events[0].event_id)
    # When somebody asks for all it tells
    told = {command: eventually(lambda command=command: ask(system, name, command=command), f"it answers {command}", 30)
            for command in ("conf", "report", "stats", "active", "registered", "active_queues")}  # fmt: skip
    told["conf, all of it"] = ask(system, name, command="conf", with_defaults=True)
    pages = [port.get(path)[1] for path in ("/metrics", "/healthz", "/readyz")]
    # Then it tells much, and no password, nor what events say
    text = json.dumps(told) + "".join(pages) + worker.log.read_text()
    assert "book_order" in json.dumps(told["registered"])
    assert 'handler="book_order"' in pages[0]
    assert PASSWORD not in text
    assert WORDS not in text
    assert str(events[0].event_id) not in "".join(pages)


def test_its_port_answers_three_paths_and_nothing_else(system: System) -> None:
    port = Port()
    system.start_worker(pool="threads", **port.setting)
    assert port.says("/readyz", 200) == {"status": "ready"}
    for path in ("/", "/../../etc/passwd", "/metrics/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd"):
        assert port.get(path) == (404, "not found\n"), path
    assert port.asked("POST", "/metrics") == 501
    assert port.asked("DELETE", "/healthz") == 501


def test_what_handlers_raise_forges_no_line_of_the_log(system: System) -> None:
    worker = system.start_worker()
    event = shop.AlwaysFails(text=FORGED)
    publish(event)
    assert system.settled(1, event.event_id) == {"dead": 1}
    worker.wait_for("is a dead letter")
    log = worker.log.read_bytes().decode()
    assert WORDS in log
    assert not any(sign in log for sign in "\x1b\x9b\u202e\r")
    assert not any(line.startswith("[2026-11-30 09:00:00,000") for line in log.splitlines())


def test_remote_control_can_be_switched_off(system: System) -> None:
    # Given two workers, of which one has been told not to listen
    queue = system.environment["EVENTS_QUEUE"]
    hears, deaf = f"hears-{queue}@test", f"deaf-{queue}@test"
    system.start_worker(pool="threads", name=hears)
    (system.folder / "celeryconfig.py").write_text("worker_enable_remote_control = False\n")
    worker = system.start_worker(pool="threads", name=deaf)
    # When both are asked, and told to end
    eventually(lambda: ask(system, hears, command="ping"), "it answers")
    assert ask(system, hears, deaf, command="ping") == {hears: {"ok": "pong"}}
    ask(system, hears, deaf, command="shutdown")
    # Then one ends, and the other works on
    assert system.processes[0].exit_code() == 0
    event = shop.AsyncWork()
    publish(event)
    assert system.settled(1, event.event_id) == {"succeeded": 1}
    assert worker.alive()
