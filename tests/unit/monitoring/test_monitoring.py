"""Health, what is kept of the ledger, presence: what tells of a process, without the process."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from celery.worker import state
from prometheus_client import CollectorRegistry, generate_latest

from events.ledger.envelope import Envelope
from events.ledger.outcome import Outcome, Result
from events.ledger.overview import Overview
from events.ledger.records import ALIVE, Claim
from events.monitoring.cached import Cached
from events.monitoring.health import Health, Probe
from events.monitoring.prometheus import METRICS, EventsCollector
from events.monitoring.worker_counts import WorkerCounts
from events.settings.settings import Settings
from events.testing import InlinePipeline
from events.watchdog import Pulse
from events.worker.host import Host, lend_host
from events.worker.idleness import Idleness
from events.worker.presence_step import PresenceStep
from support.waiting import eventually

EMPTY = Overview(datetime.now(UTC), False, [], [], [], {}, 0.0, {}, [])
SOON = timedelta(milliseconds=100)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Closed until a test opens it, and at its end in any case."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_process_is_well_while_everything_beats() -> None:
    # Given two things that should beat, of which one can't be judged
    beats, unknown = Pulse(), lambda: 1 / 0
    health = Health({"the relay": beats.silence, "consuming": unknown}, 2 * SOON, {}, lambda: False)
    assert health.alive() == (200, {"status": "ok"})
    # When one is silent for half of the watchdog's time, then it is named, with for how long
    eventually(lambda: health.alive()[0] == 503, "it is noticed")
    status, said = health.alive()
    assert (status, said["silent_for_seconds"].keys()) == (503, {"the relay"})
    assert said["silent_for_seconds"]["the relay"] > 0
    # And when it beats again, all is well
    beats.beat()
    assert health.alive() == (200, {"status": "ok"})


def test_a_process_that_was_told_to_end_lives_and_is_not_ready() -> None:
    health = Health({"the relay": lambda: 1000.0}, SOON, {"database": lambda: ""}, lambda: True)
    assert health.alive()[0] == 200
    assert health.ready()[0] == 503


def test_a_worker_that_gets_nothing_though_messages_wait_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an idle worker, and a queue in which messages wait
    queue, taken = SimpleNamespace(waiting=lambda _: 3), {"hear": 7}
    monkeypatch.setattr(state, "total_count", taken)
    monkeypatch.setattr("events.worker.idleness.open_transport", lambda _: queue)
    idleness = Idleness(Settings(), lambda: ["q"])
    idleness.look()  # what it sees first it can't judge
    assert idleness.silence() == 0
    # When none comes, then it is silent since that was seen
    idleness.look()
    eventually(lambda: idleness.silence() > 0, "it is silent")
    # But not when one comes, nor when the broker doesn't say
    taken["hear"] = 8
    idleness.look()
    assert idleness.silence() == 0
    idleness.look()
    eventually(lambda: idleness.silence() > 0, "it is silent again")
    monkeypatch.setattr(queue, "waiting", lambda _: 1 / 0)
    idleness.look()
    assert idleness.silence() == 0


def test_what_keeps_a_process_from_being_ready_is_named() -> None:
    troubles = {"database": "", "broker": "gone"}
    health = Health({}, SOON, {name: lambda name=name: troubles[name] for name in troubles}, lambda: False)  # type: ignore[misc]
    assert health.ready() == (503, {"status": "not ready", "reasons": {"broker": "gone"}})
    troubles["broker"] = ""
    assert health.ready() == (200, {"status": "ready"})


def test_somebody_who_never_answers_is_asked_once_and_holds_nobody_up(gate: threading.Event) -> None:
    # Given a database that takes the question and says nothing
    asked: list[None] = []

    def ask() -> None:
        asked.append(None)
        gate.wait()

    probe = Probe("database", ask, patience=0.02, trusted=0)
    # When it is asked again and again, then each gets its answer, and only one question is out
    assert all("no answer for" in probe() for _ in range(10))
    assert len(asked) == 1
    # And when it answers at last, that is known
    gate.set()
    eventually(lambda: probe() == "", "it is well again")


def test_an_answer_is_good_for_a_while_and_hides_passwords() -> None:
    asked: list[None] = []

    def ask() -> None:
        asked.append(None)
        raise ConnectionError("can't reach redis://user:secret@host\nand more")

    probe = Probe("broker", ask, trusted=1000)
    assert {probe() for _ in range(5)} == {"ConnectionError: can't reach redis://user:***@host"}
    assert len(asked) == 1


def test_who_collects_never_waits_for_the_ledger(gate: threading.Event) -> None:
    # Given a ledger that takes its time
    def read() -> Overview:
        gate.wait()
        return EMPTY

    registry = CollectorRegistry(auto_describe=True)  # as Flower's
    registry.register(EventsCollector(ledger=Cached(read)))
    # When somebody asks, then there is nothing yet, and later there is
    assert generate_latest(registry) == b""
    gate.set()
    eventually(lambda: b"events_outbox_lag_seconds 0.0" in generate_latest(registry), "the snapshot is there")


def test_what_is_not_known_any_more_is_not_shown() -> None:
    # Given a ledger that answers, and a clock
    answers, clock = [EMPTY], [0.0]
    cached = Cached(lambda: answers[0], clock=lambda: clock[0])
    eventually(lambda: cached.latest() is EMPTY, "it is known")
    # When it fails later, then its last state is not shown for ever
    answers.clear()
    clock[0] = 10
    eventually(lambda: cached.latest() is None, "it is forgotten")


def test_no_metric_has_a_label_that_fly_overwrites_or_a_name_of_another_kind() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert not {"app", "region", "host", "instance", "job"} & set(metric.labels)
        assert metric.name.startswith("events_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")


class _App(SimpleNamespace):
    """What a worker's presence asks of a Celery app."""

    __hash__ = object.__hash__


def test_a_worker_tells_the_ledger_what_it_does(events_pipeline: InlinePipeline) -> None:
    # Given a worker's presence
    tally = WorkerCounts([("Said", "hear")], [])
    amqp = SimpleNamespace(queues=SimpleNamespace(consume_from=()))
    app = _App(amqp=amqp)
    lend_host(app, lambda: Host(pipeline=events_pipeline, worker_counts=tally))
    worker = SimpleNamespace(app=app, hostname="w1", pool=object(), concurrency=2)
    presence = PresenceStep(worker)
    presence.start(worker)
    try:
        # When it has done something, and renews
        envelope = Envelope(uuid4(), "", "Said", "{}", 1, None, 1, "{}")
        tally.attempted(Claim(envelope, "hear", 1, 1, "w1"), Result(Outcome.SUCCEEDED), 0.1)
        presence._announce(anew=False)
        # Then everybody can see what it does, and when it does nothing more, that
        (info,) = events_pipeline.ledger.workers.alive(ALIVE)
        assert info.activity.keys() == {"hear"}
        assert info.activity["hear"]["succeeded"] > info.activity["hear"]["dead"] == 0
        presence._announce(anew=False)
        (info,) = events_pipeline.ledger.workers.alive(ALIVE)
        assert info.activity == {}
    finally:
        presence.stop(worker)
