"""A group that is claimed by the lease of its message behaves as one whose deliveries are claimed row by row.

The same random program runs on PostgreSQL, which leases messages, and on SQLite, which doesn't. After every step each
delivery is, as people see it, in the same state, of the same attempt, in both. In one of two tests PostgreSQL looks
for new events from its low-water mark alone, as it does while looks from the beginning take long.
"""

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import case, literal_column, select, text, update

from events.errors import LeaseLost
from events.ledger.records import Claim, Group, State, Wakeup
from events.store import migrate
from events.store.leases import is_running
from events.store.tables import event_deliveries, event_leases
from support.exploring import explore, long_enough
from support.servers import PostgresDatabase
from support.store import HOUR, NOW, OOPS, Store

STEPS, WORKERS = 40, ("w1", "w2")
_DELIVERY = event_deliveries.c


class Side:
    """One of the two ledgers, and what this process has of it: messages that were sent, and claims."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ids = self.leased = 0
        self.groups: list[Group] = []
        self.claims: list[list[Claim]] = []

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.ids += 1
            self.store.publish(UUID(int=self.ids))

    def send(self, sizes: list[int], *, at_once: bool) -> int:
        """Send what is due, or what is new, in groups of these sizes."""
        outbox = self.store.ledger.outbox
        if not at_once:
            outbox.fan_out(1000)
        with outbox.arriving(1000) if at_once else outbox.due("q", 1000) as due:
            wakeups = sorted((one.wakeup for one in due.deliveries if not one.alone), key=lambda one: one.event_id)
            groups: list[Group] = [(one.wakeup,) for one in due.deliveries if one.alone]
            for size in sizes:
                groups.append(tuple(wakeups[:size]))
                wakeups = wakeups[size:]
            groups = [group for group in groups if group]
            due.mark(groups, HOUR)
        self.groups += sorted(groups, key=lambda group: group[0].event_id)
        return len(groups)

    def claim(self, number: int, worker: str) -> list[UUID]:
        if not self.groups:
            return []
        group = self.groups[number % len(self.groups)]
        claims = self.store.ledger.inbox.claim("hear", _tokens(group), worker, HOUR)
        if claims:
            self.claims.append(claims)
            self.leased += claims[0].lease is not None
        return [claim.envelope.id for claim in claims]

    def some(self, number: int, which: list[bool]) -> list[Claim]:
        """Some claims of one message."""
        if not self.claims:
            return []
        claims = self.claims[number % len(self.claims)]
        return [claim for claim, wanted in zip(claims, which, strict=False) if wanted]

    def succeed(self, claims: list[Claim]) -> bool:
        inbox = self.store.ledger.inbox
        with suppress(LeaseLost), inbox.begin() as connection:
            inbox.succeed(connection, claims)
            return True
        return False

    def let_leases_end(self, *, outage: bool) -> int:
        with self.store.ledger.events.begin() as connection:
            running = update(event_deliveries).where(_DELIVERY.state == State.RUNNING)
            connection.execute(running.values(due_at=self.past()))
            connection.execute(update(event_leases).values(until=self.past()))
        return self.store.ledger.recovery.expire_leases(100, HOUR if outage else None)

    def resend(self) -> int:
        with self.store.ledger.events.begin() as connection:
            overdue = update(event_deliveries).where(_DELIVERY.state == State.SENT)
            connection.execute(overdue.values(due_at=self.past()))
        return self.store.ledger.recovery.resend("q", 1000)

    def hold(self) -> int:
        """Pause the handler for a moment: what waits for it waits, what runs goes on."""
        switches = self.store.ledger.switches
        switches.pause("hear", "ann")
        running = switches.running("hear")
        while switches.hold("hear", 100):
            pass
        return running

    def drop(self) -> int:
        """Retire the handler, and subscribe it again."""
        switches = self.store.ledger.switches
        switches.unsubscribe("hear", "ann")
        waiting, dropped = switches.waiting("hear"), 0
        while some := switches.drop("hear", "ann", 100):
            dropped += some
        assert dropped == waiting
        self.store.subscribe(max_attempts=100)
        return dropped

    def past(self) -> Any:
        ago = "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-1 minute')"
        return literal_column(ago if self.store.sqlite else "now() - interval '1 minute'")

    def seen(self) -> list[tuple[Any, ...]]:
        running, leased = is_running(), _DELIVERY.state == State.SENT
        query = select(
            _DELIVERY.event_id,
            case((running, "running"), else_=_DELIVERY.state).label("state"),
            case((running & leased, _DELIVERY.attempts + 1), else_=_DELIVERY.attempts).label("attempts"),
            _DELIVERY.attempts_before,
            _DELIVERY.alone,
            _DELIVERY.error_type,
        )
        with self.store.ledger.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query.order_by(_DELIVERY.event_id))]


def _tokens(group: Group) -> dict[UUID, int]:
    return {wakeup.event_id: wakeup.token for wakeup in group}


class Program:
    """One random program, run on both sides."""

    def __init__(self, sides: tuple[Side, Side], seed: int) -> None:
        self.sides, self.chance, self.said = sides, random.Random(seed), list[str]()

    def run(self) -> None:
        steps = [self.publish, self.send, self.send, *[self.claim] * 5, *[self.succeed] * 3, self.fail, self.hand_back,
                 self.extend, self.end, self.release, self.abandon, self.resend, self.drain, self.pass_on, self.pause,
                 self.retire, self.take_back, self.renew]  # fmt: skip
        self.both("publish", 8)
        self.both("send", [4, 3, 2], at_once=self.chance.random() < 0.5)
        self.both("claim", 0, WORKERS[0])  # so that a group runs in every program
        for _ in range(STEPS):
            self.chance.choice(steps)()
            seen = [side.seen() for side in self.sides]
            assert seen[0] == seen[1], "\n".join(self.said)

    def both(self, name: str, *arguments: Any, **options: Any) -> None:
        self.said.append(f"{name} {arguments} {options or ''}")
        found = [getattr(side, name)(*arguments, **options) for side in self.sides]
        assert found[0] == found[1], "\n".join(self.said)

    def told(self, what: str) -> tuple[int, list[bool]]:
        number, which = self.chance.randrange(100), [self.chance.random() < 0.6 for _ in range(9)]
        self.said.append(f"{what} {number} {which}")
        return number, which

    def publish(self) -> None:
        self.both("publish", self.chance.randint(1, 8))

    def send(self) -> None:
        self.both("send", [self.chance.randint(1, 4) for _ in range(5)], at_once=self.chance.random() < 0.5)

    def claim(self) -> None:
        self.both("claim", self.chance.randrange(100), self.chance.choice(WORKERS))

    def succeed(self) -> None:
        number, which = self.told("succeed")
        if self.chance.random() < 0.6:
            which = [True] * 9
        found = [side.succeed(claims) if (claims := side.some(number, which)) else None for side in self.sides]
        assert found[0] == found[1], "\n".join(self.said)

    def on_claims(self, what: str, act: Any) -> None:
        number, which = self.told(what)
        found = [act(side.store.ledger.inbox, side.some(number, which)) for side in self.sides]
        assert found[0] == found[1], "\n".join(self.said)

    def fail(self) -> None:
        dead = self.chance.random() < 0.3
        self.on_claims("fail", lambda inbox, claims: [
            inbox.bury(one, OOPS) if dead else inbox.retry(one, OOPS, NOW) for one in claims
        ])  # fmt: skip

    def hand_back(self) -> None:
        alone = self.chance.random() < 0.3
        self.on_claims("hand back", lambda inbox, claims: inbox.hand_back(claims, NOW, alone=alone))

    def extend(self) -> None:
        self.on_claims("extend", lambda inbox, claims: inbox.extend(claims, HOUR))

    def pass_on(self) -> None:
        self.on_claims("pass on", lambda inbox, claims: inbox.pass_on(claims))

    def abandon(self) -> None:
        self.on_claims("abandon", lambda inbox, claims: inbox.abandon(
            "hear", {claim.envelope.id: claim.token for claim in claims}, OOPS, NOW
        ) if claims else 0)  # fmt: skip

    def take_back(self) -> None:
        self.on_claims("take back", lambda inbox, claims: inbox.take_back(
            "hear", {claim.envelope.id: claim.token for claim in claims}, claims[0].worker
        ) if claims else 0)  # fmt: skip

    def end(self) -> None:
        self.both("let_leases_end", outage=self.chance.random() < 0.3)

    def resend(self) -> None:
        self.both("resend")

    def release(self) -> None:
        worker = self.chance.choice(WORKERS)
        self.said.append(f"release {worker}")
        found = [side.store.ledger.inbox.release(worker) for side in self.sides]
        assert found[0] == found[1], "\n".join(self.said)

    def drain(self) -> None:
        """A worker that ends gives back a message that it, or another, has had."""
        self.on_messages("drain", lambda side, wakeups: side.store.ledger.outbox.hand_back(wakeups, NOW))

    def renew(self) -> None:
        self.on_messages("renew", lambda side, wakeups: side.store.ledger.recovery.renew(wakeups, HOUR, "w3"))

    def on_messages(self, what: str, act: Any) -> None:
        number, which = self.told(what)
        for side in self.sides:
            if side.groups:
                group = side.groups[number % len(side.groups)]
                wakeups: list[Wakeup] = [one for one, wanted in zip(group, which, strict=False) if wanted]
                act(side, wakeups)

    def pause(self) -> None:
        self.both("hold")
        for side in self.sides:
            side.store.ledger.switches.resume("hear", "ann")
            side.store.ledger.recovery.unpause(1000)

    def retire(self) -> None:
        if self.chance.random() < 0.5:
            self.both("drop")


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    database = PostgresDatabase()
    stores = Store(database.url), Store(f"sqlite:///{tmp_path / 'events.db'}")
    for store in stores:
        migrate(store.ledger.engine)
    yield Side(stores[0]), Side(stores[1])
    for store in stores:
        store.ledger.close()
    database.drop()


@pytest.mark.parametrize("looks", ["from the beginning", "from the mark"])
@long_enough
def test_groups_behave_alike_with_leases_and_without(
    sides: tuple[Side, Side], looks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if looks == "from the mark":
        monkeypatch.setattr("events.ration.CHEAP", -1.0)
        monkeypatch.setattr("events.ration._SHARE", 10**9)

    def one_round(seed: int) -> None:
        for number in range(6):
            for side in sides:
                side.ids, side.groups, side.claims = 0, [], []
                with side.store.ledger.events.begin() as connection:
                    for table in ("deliveries", "store", "attempts", "handlers", "subscriptions", "leases", "actions"):
                        connection.execute(text(f"DELETE FROM event_{table}"))
                side.store.subscribe(max_attempts=100)
            Program(sides, seed * 10 + number).run()
        # Then only one of the two has leased messages
        assert [side.leased > 0 for side in sides] == [True, False]

    explore(one_round)
