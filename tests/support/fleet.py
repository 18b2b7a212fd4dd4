"""Workers of several versions of an application, in one process: each with its own registry of handlers and, without a
broker, its own queue in memory. What real ones do at start, now and then, and at their end, they do when told to."""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from events import Delivery, DomainEvent, Retry, handles, publish
from events.handling import registry
from events.ledger.records import Group, WorkerInfo
from events.pipeline import Pipeline
from events.relay.relay import Relay
from events.relay.transport import TransportFeatures
from events.settings.settings import Settings

LEASE = timedelta(minutes=1)
Pair = tuple[str, str]  # handler, event type
done: Counter[tuple[UUID, str]] = Counter()  # deliveries that a handler was called for
strange: list[Pair] = []  # events that code was given which doesn't take them
Code = dict[str, registry.Handler]


class SaidToFleet(DomainEvent):
    pass


class Seen(DomainEvent):
    pass


class Sung(DomainEvent):
    pass


KINDS: tuple[type[DomainEvent], ...] = (SaidToFleet, Seen, Sung)


def _version(**handlers: tuple[str | None, tuple[type[DomainEvent], ...]]) -> Code:
    """Handler to its queue and its events."""
    code: Code = {}
    with running(code):
        for name, (queue, events) in handlers.items():
            handles(*events, name=name, queue=queue, retry=Retry(max_attempts=1000))(_noting(events))
    return code


def _noting(events: tuple[type[DomainEvent], ...]) -> Callable[..., None]:
    def note(event: DomainEvent, delivery: Delivery) -> None:
        done[event.event_id, delivery.handler] += 1
        if type(event) not in events:
            strange.append((delivery.handler, type(event).__name__))

    return note


@contextmanager
def running(code: Code) -> Iterator[None]:
    """This process has these handlers."""
    before, registry._handlers = registry._handlers, code
    try:
        yield
    finally:
        registry._handlers = before


# Handlers come, go, are renamed, get and lose events, and move from queue to queue.
VERSIONS: tuple[Code, ...] = (
    _version(hear=(None, (SaidToFleet, Seen)), note=(None, (SaidToFleet,))),
    _version(hear=("mail", (SaidToFleet,)), record=(None, (SaidToFleet,)), sing=(None, (Sung,))),
    _version(hear=(None, (Seen, Sung)), record=("slow", (SaidToFleet, Seen)), sing=("mail", (Sung,))),
)


def pairs_of(code: Code) -> set[Pair]:
    return {(handler.name, event.event_name) for handler in code.values() for event in handler.events}


class Queues:
    """A broker, or what one worker holds: keeps the contract of events.relay.Transport."""

    name = "queues"

    def __init__(self, *, in_memory: bool) -> None:
        self.features = TransportFeatures(holds_itself=in_memory)
        self.of: dict[str, deque[Group]] = {}
        self._in_memory = in_memory

    def send(self, groups: Sequence[Group]) -> None:
        for group in groups:
            self.of.setdefault(group[0].queue, deque()).append(group)

    def waiting(self, queue: str) -> int:
        return len(self.of.get(queue, ()))

    def held(self) -> Sequence[Group]:
        return [group for queue in self.of.values() for group in queue] if self._in_memory else ()

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody asks it to {name}")


@dataclass
class Worker:
    """A worker that lives."""

    name: str
    code: Code
    queues: Queues
    reads: list[str] = field(default_factory=list)


class Fleet:
    """One ledger, perhaps one broker, and the workers that live."""

    def __init__(self, url: str, *, broker: bool) -> None:
        self.pipeline = Pipeline(Settings(database_url=url, broker_url=""), Queues(in_memory=False))  # type: ignore[arg-type]
        self.pipeline.migrate()
        self.broker = Queues(in_memory=False) if broker else None
        self.workers: list[Worker] = []
        self._names = 0

    def start(self, code: Code) -> Worker:
        """As LedgerStep and PresenceStep do."""
        self._names += 1
        worker = Worker(f"w{self._names}", code, self.broker or Queues(in_memory=True))
        worker.reads = sorted({self.pipeline.settings.queue, *(one.queue for one in code.values() if one.queue)})
        with running(code):
            self.pipeline.subscribe()
            self.pipeline.ledger.workers.announce(self._info(worker))
            self.pipeline.subscribe()
        self.workers.append(worker)
        return worker

    def renew(self, worker: Worker) -> None:
        """As PresenceStep does every ten seconds."""
        with running(worker.code):
            if not self.pipeline.ledger.workers.renew(worker.name, {}):
                self.pipeline.ledger.workers.announce(self._info(worker))
                self.pipeline.subscribe()
            self.pipeline.keep_subscribed()

    def stop(self, worker: Worker) -> None:
        """SIGTERM: what it holds goes back."""
        self.workers.remove(worker)
        if held := [wakeup for group in worker.queues.held() for wakeup in group]:
            self.pipeline.ledger.outbox.hand_back(held, timedelta(0))
        self.pipeline.ledger.workers.gone(worker.name)

    def kill(self, worker: Worker) -> None:
        self.workers.remove(worker)

    def relay(self, worker: Worker | None) -> None:
        """A round of the relay in this worker, or of one that runs alone."""
        local = worker is not None and self.broker is None
        ledger, transport = self.pipeline.ledger, self.broker if worker is None else worker.queues
        with running(worker.code if worker else {}):
            relay = self.pipeline.relay(
                handlers=registry.all_handled() if worker and local else None,
                queues=worker.reads if worker and local else None,
                max_messages=8 if local else None,
            )
        limits, hooks = relay._limits, self.pipeline.hooks
        handlers, queues = relay._dispatch._handlers, relay._dispatch._queues
        Relay(
            subscriptions=ledger.subscriptions, outbox=ledger.outbox, recovery=ledger.recovery,
            transport=transport, limits=limits, hooks=hooks, handlers=handlers, queues=queues,  # type: ignore[arg-type]
        ).step()  # fmt: skip

    def work(self, worker: Worker, *, dies: bool = False) -> bool:
        """Take a message of its queues, and deal with it as the consumer and the task do; False if there is none."""
        waiting = [worker.queues.of[name] for name in worker.reads if worker.queues.of.get(name)]
        if not waiting:
            return False
        group = random.choice(waiting).popleft()
        handler, tokens = group[0].handler, {one.event_id: one.token for one in group}
        ledger = self.pipeline.ledger
        if dies:
            ledger.inbox.claim(handler, tokens, worker.name, LEASE)
            self.kill(worker)
        elif handler not in worker.code:
            ledger.outbox.pass_on(group)
        else:
            with running(worker.code):
                self.pipeline.deliverer(worker.name).deliver(handler, tokens)
        return True

    def publish(self, kind: type[DomainEvent]) -> UUID:
        event = kind()
        publish(event)
        return event.event_id

    def let_time_pass(self) -> None:
        """More than any delay, lease, stale window, or silence for which a worker still counts as living."""
        sqlite = self.pipeline.settings.database_url.startswith("sqlite")
        past = "'2000-01-01 00:00:00.000000'" if sqlite else "now() - interval '1 hour'"
        since = (
            "strftime('%Y-%m-%d %H:%M:%f000', created_at, '-1 hour')" if sqlite else "created_at - interval '1 hour'"
        )
        alive = ", ".join(f"'{worker.name}'" for worker in self.workers) or "''"
        held = "'9999-01-01 00:00:00.000000'"
        with self.pipeline.ledger.events.begin() as connection:
            for statement in (
                f"UPDATE event_deliveries SET due_at = {since} WHERE state = 'pending' AND due_at < {held}",
                f"UPDATE event_deliveries SET due_at = {past} WHERE state IN ('sent', 'running')",
                f"UPDATE event_subscriptions SET changed_at = {past} WHERE changed_at IS NOT NULL",
                f"UPDATE event_workers SET seen_at = {past} WHERE name NOT IN ({alive})",
            ):
                connection.execute(text(statement))

    def empty(self) -> None:
        """A ledger as new, with nobody on it."""
        self.workers.clear()
        done.clear()
        strange.clear()
        if self.broker:
            self.broker.of.clear()
        with self.pipeline.ledger.events.begin() as connection:
            for table in ("deliveries", "store", "subscriptions", "workers", "handlers", "actions", "attempts"):
                connection.execute(text(f"DELETE FROM event_{table}"))

    def _info(self, worker: Worker) -> WorkerInfo:
        definitions: dict[str, dict[str, str]] = {}
        for one in self.pipeline.subscriptions():
            definitions.setdefault(one.handler, {})[one.event_type] = one.definition
        handlers = {one.name: dict.fromkeys(one.event_types, "1:x") for one in worker.code.values()}
        return WorkerInfo(worker.name, "host", 1, "0", "prefork", 2, 5, worker.reads, handlers, definitions=definitions)
