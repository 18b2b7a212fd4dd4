"""Rolling versions: workers of several versions start and end at random, in good order, killed, or late.

The model: every event reaches every handler that any started code subscribed to it, before the event was fanned out,
and that nobody retired; each once, and nothing else is done.
"""

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from events.current_pipeline import use_pipeline
from events.errors import NoSuchHandler, StillRunning
from events.ledger.records import State
from events.store.tables import event_deliveries, event_store, event_subscriptions
from support.exploring import SECONDS, explore, long_enough
from support.fleet import KINDS, VERSIONS, Fleet, Pair, Worker, done, pairs_of, strange
from support.rolling import publish_as, start_worker
from support.system import MODES, Process, System
from support.waiting import eventually

STEPS, PATIENCE = 60, 400


@pytest.fixture
def fleet(url: str, broker: bool) -> Iterator[Fleet]:
    fleet = Fleet(url, broker=broker)
    use_pipeline(fleet.pipeline)
    try:
        yield fleet
    finally:
        use_pipeline(None)
        fleet.pipeline.close()


class Program:
    """One random program, and what is to come of it."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.chance = random.Random(seed)
        self.subscribed: set[Pair] = set()
        self.new: dict[UUID, str] = {}  # published and not fanned out: event id to type
        self.wanted: set[tuple[UUID, str, str]] = set()  # event id, handler, event type
        self.begun: set[tuple[UUID, str]] = set()  # and not ended, when their handler was retired: they may come back
        self.said: list[str] = []

    def run(self) -> None:
        steps = [self.start, self.start, self.renew, self.renew, self.stop, self.kill, self.die, self.retire,
                 self.publish, self.publish, self.publish, self.relay, self.relay, self.work, self.work, self.work,
                 self.pass_time]  # fmt: skip
        for _ in range(STEPS):
            self.chance.choice(steps)()
            self.check_subscriptions()
        self.finish()

    def start(self) -> None:
        if len(self.fleet.workers) < 4:
            number = self.chance.randrange(len(VERSIONS))
            worker = self.fleet.start(VERSIONS[number])
            self.subscribed |= pairs_of(worker.code)
            self.said.append(f"{worker.name} of version {number} starts")

    def renew(self) -> None:
        self._with_one(self.fleet.renew, "renews")

    def stop(self) -> None:
        self._with_one(self.fleet.stop, "stops")

    def kill(self) -> None:
        self._with_one(self.fleet.kill, "is killed")

    def die(self) -> None:
        self._with_one(lambda worker: self.fleet.work(worker, dies=True), "dies with what it has begun, if anything")

    def work(self) -> None:
        self._with_one(self.fleet.work, "works")

    def relay(self) -> None:
        """The events that are new go to whoever is subscribed now."""
        if not self.fleet.workers and self.fleet.broker is None:
            return
        alone = self.fleet.broker is not None and self.chance.random() < 0.3
        worker = None if alone or not self.fleet.workers else self.chance.choice(self.fleet.workers)
        self.said.append(f"the relay of {worker.name if worker else 'nobody'}")
        self.fleet.relay(worker)
        waiting = self.waiting()
        for event_id, kind in list(self.new.items()):
            handlers = {handler for handler, event_type in self.subscribed if event_type == kind}
            if handlers and event_id not in waiting:
                self.wanted |= {(event_id, handler, kind) for handler in handlers}
                del self.new[event_id]

    def publish(self) -> None:
        kind = self.chance.choice(KINDS)
        event_id = self.fleet.publish(kind)
        self.new[event_id] = kind.event_name
        self.said.append(f"{kind.event_name} {event_id}")

    def retire(self) -> None:
        """Refused while a worker has it; else what waits for it is given up."""
        if not self.subscribed or self.chance.random() < 0.5:
            return
        handler, kind = self.chance.choice(sorted(self.subscribed))
        whole = self.chance.random() < 0.5
        with suppress(StillRunning, NoSuchHandler):
            self.fleet.pipeline.upkeep.retire(handler, "ann", event_type=None if whole else kind)
            gone = {pair for pair in self.subscribed if pair[0] == handler and (whole or pair[1] == kind)}
            assert not any(gone & pairs_of(worker.code) for worker in self.fleet.workers), f"{gone} was had"
            for event_id, event_type in list(self.new.items()):  # what waited for it became deliveries first
                if event_type in {pair[1] for pair in gone}:
                    handlers = {pair[0] for pair in self.subscribed if pair[1] == event_type}
                    self.wanted |= {(event_id, other, event_type) for other in handlers}
                    del self.new[event_id]
            self.subscribed -= gone
            self.begun |= self.running()
            self.wanted = {one for one in self.wanted if one[1:] not in gone or done[one[0], one[1]]}
            self.said.append(f"ann retires {gone}")

    def pass_time(self) -> None:
        self.said.append("time passes")
        self.fleet.let_time_pass()
        for worker in self.fleet.workers:
            self.fleet.renew(worker)

    def check_subscriptions(self) -> None:
        column = event_subscriptions.c
        with self.fleet.pipeline.ledger.engine.connect() as connection:
            rows = {(row[0], row[1]) for row in connection.execute(select(column.handler, column.event_type))}
        assert rows == self.subscribed, self.told(f"subscribed: {rows ^ self.subscribed} differ")

    def finish(self) -> None:
        """When all code that anybody has runs, all is done."""
        for code in VERSIONS:
            self.subscribed |= pairs_of(self.fleet.start(code).code)
        workers = self.fleet.workers
        for _ in range(PATIENCE):
            self.relay()
            while sum(self.fleet.work(worker) for worker in self.chance.sample(workers, len(workers))):
                pass  # a message each, in turn: a broker that gave all to one would starve the others
            if not self.new and all(done[event_id, handler] for event_id, handler, _ in self.wanted):
                break
            self.pass_time()
        missing = [one for one in self.wanted if done[one[0], one[1]] != 1]
        assert not missing, self.told(f"not done once: {missing}")
        more = set(done) - {(event_id, handler) for event_id, handler, _ in self.wanted}
        assert more <= self.begun, self.told("more was done")
        assert set(done.values()) <= {1}, self.told("done twice")
        assert not strange, self.told(f"given to code that doesn't take it: {strange}")
        assert self.processed() == len({one[0] for one in self.wanted}), self.told("events without a handler")

    def running(self) -> set[tuple[UUID, str]]:
        column = event_deliveries.c
        query = select(column.event_id, column.handler).where(column.state == State.RUNNING)
        with self.fleet.pipeline.ledger.engine.connect() as connection:
            return {(row[0], row[1]) for row in connection.execute(query)}

    def waiting(self) -> set[UUID]:
        """The events that are not fanned out: a worker that has all it can hold leaves them."""
        with self.fleet.pipeline.ledger.engine.connect() as connection:
            return set(connection.scalars(select(event_store.c.id).where(event_store.c.processed.is_(False))))

    def processed(self) -> int:
        with self.fleet.pipeline.ledger.engine.connect() as connection:
            ids = connection.scalars(select(event_store.c.id).where(event_store.c.processed)).all()
        return len(set(ids) & {one[0] for one in self.wanted})

    def told(self, what: str) -> str:
        return "\n".join([what, *self.said])

    def _with_one(self, act: "object", said: str) -> None:
        if self.fleet.workers:
            worker: Worker = self.chance.choice(self.fleet.workers)
            self.said.append(f"{worker.name} {said}")
            act(worker)  # type: ignore[operator]


@long_enough
@pytest.mark.parametrize("broker", [False, True], ids=["no broker", "broker"])
def test_every_event_reaches_every_handler_that_any_started_code_subscribed(fleet: Fleet) -> None:
    def one_round(seed: int) -> None:
        for number in range(2):
            fleet.empty()
            random.seed(seed * 10 + number)
            Program(fleet, seed * 10 + number).run()

    explore(one_round)


@long_enough
@pytest.mark.skipif(not SECONDS, reason="real workers take seconds to start; run by scripts/explore")
@pytest.mark.parametrize("mode", MODES)
def test_real_workers_of_two_versions_that_come_and_go_leave_nothing_undone(mode: str, tmp_path: Path) -> None:
    def one_round(seed: int) -> None:
        chance, folder = random.Random(seed), tmp_path / str(seed)
        folder.mkdir()
        with System(mode, folder, handlers="wider").in_use() as system:
            started: set[str] = set()
            living: list[Process] = []
            wanted: set[tuple[str, str]] = set()

            def start(version: str) -> None:
                living.append(start_worker(system, version))
                started.add(version)

            start("new")
            for _ in range(12):
                if len(living) < 3 and chance.random() < 0.5:
                    start(chance.choice(["old", "new"]))
                elif living and chance.random() < 0.5:
                    leaver = living.pop(chance.randrange(len(living)))
                    leaver.kill() if chance.random() < 0.5 else leaver.stop()
                for kind, takers in (("Stayed", {"old": ("widens", "goes")}), ("Arrived", {})):
                    handlers = {"widens", *(takers.get("old", ()) if "old" in started else ())}
                    ids = publish_as(system, kind, count=chance.randint(1, 5))
                    wanted |= {(str(one), handler) for one in ids for handler in handlers}
            for version in ("new", "old"):
                start(version)
            eventually(lambda: wanted <= set(system.effects()), "every handler of any started code has its events", 240)
            assert set(system.effects().values()) == {1}
            assert not system.states()["dead"]

    explore(one_round)
