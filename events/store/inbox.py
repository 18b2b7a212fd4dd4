"""What a worker reads and writes around a handler's run. Keeps the contract of events.ledger.Inbox.

Every write after the claim is fenced: see events.store.fencing.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, and_, select, update

from events.errors import EventDataError, LeaseLost
from events.ledger import Claim, Envelope, Failure, Outcome, State, failure_of, failure_without_trace
from events.store.awaited.engines import AsyncEngines
from events.store.awaited.transactions import AwaitedTransaction
from events.store.claiming import take, take_along
from events.store.conditions import in_state, waits
from events.store.database.availability import is_away, is_contention, pardons
from events.store.database.engine import look, moments, now_plus, relaxed_commit, transaction
from events.store.database.lent_transaction import OURS, lent, settle
from events.store.database.listener import wake_relays
from events.store.database.pg_catalog import Catalog
from events.store.database.savepoints import SqlShared, shared
from events.store.database.watched_connections import watch_for
from events.store.delivery_keys import Key, key_values
from events.store.failed_attempts import fail, interrupt
from events.store.fencing import extending, is_still, key_of, still_ours, succeeding, write
from events.store.leases import succeeding as succeeding_by_lease
from events.store.leases import unfold, unfold_of
from events.store.passing_on import passed_on
from events.store.subscriptions import max_attempts
from events.store.tables import event_deliveries

_DELIVERY = event_deliveries.c


class SqlInbox:
    """Claims, leases and outcomes of deliveries.

    Args:
        background: an engine for work that must not wait for handlers or their connections; by default the same engine.
        engines: the engines of asyncio, for `awaited`.
    """

    def __init__(self, engine: Engine, background: Engine | None = None, engines: AsyncEngines | None = None) -> None:
        self._engine = engine
        self._background = background or engine
        self._dialect = engine.dialect.name
        self._catalog = Catalog(engine)
        self._engines = engines

    @contextmanager
    def begin(self, *, eager: bool = False) -> Iterator[Connection]:
        names = self._catalog.names()
        with transaction(self._engine, eager=eager) as connection:
            watch_for(connection, names)
            yield connection

    @contextmanager
    def begin_shared(self) -> Iterator[SqlShared]:
        names = self._catalog.names()
        with transaction(self._engine) as connection:
            watch_for(connection, names)
            with shared(connection) as sharing:
                yield sharing

    def awaited(self, handler: str) -> Callable[[bool], AwaitedTransaction]:
        assert self._engines is not None
        engines, names = self._engines, self._catalog.names()
        return lambda eager: AwaitedTransaction(engines, handler, names, self.succeed, eager=eager)

    def lend(self, connection: Connection, handler: str) -> AbstractContextManager[Callable[[], bool]]:
        return lent(connection, handler)

    def is_away(self, error: BaseException) -> bool:
        return is_away(error)

    def is_contention(self, error: BaseException) -> bool:
        return is_contention(error)

    def pardons(self, error: BaseException) -> int:
        return pardons(self._engine, error)

    def interrupt(self, claim: Claim, error: BaseException, most: int) -> bool:
        why = failure_of(error)
        with transaction(self._engine) as connection:
            self._unfold(connection, [claim])
            mine = is_still(key_of(claim))
            if not interrupt(connection, mine, f"{why.error_type}: {why.error}", most):
                return False
            wake_relays(connection)
            return True

    def take_back(self, handler: str, tokens: Mapping[UUID, int], worker: str) -> int:
        taken = [(event_id, handler, token) for event_id, token in tokens.items()]
        keys = key_values(self._dialect, taken)
        with transaction(self._engine) as connection:
            wake_relays(connection)
            unfold(connection, taken, worker)
            back = still_ours(self._dialect).where(_DELIVERY.worker == worker[:255])
            not_counted = {"attempts_before": _DELIVERY.attempts_before + 1}
            return connection.execute(
                back.values(state=waits(), due_at=now_plus(connection), **not_counted), keys
            ).rowcount

    def claim(
        self, handler: str, tokens: Mapping[UUID, int], worker: str, lease: timedelta, *, each: bool = False
    ) -> list[Claim]:
        rows = take(self._engine, handler, tokens, worker, lease, each=each)
        return self._claims(handler, [(row, tokens[row.event_id]) for row in rows], worker)

    def take_along(self, claims: Sequence[Claim], most: int, worker: str, lease: timedelta) -> list[Claim]:
        first = claims[0]
        rows = take_along(self._engine, first.handler, key_of(first), most, worker, lease)
        return self._claims(first.handler, rows, worker)

    def _claims(self, handler: str, rows: Sequence[tuple[Any, int]], worker: str) -> list[Claim]:
        claims = []
        for row, token in rows:
            if row.event_type is None:  # a foreign program deleted the event, and operators must see that
                gone = EventDataError(f"event {row.event_id} is no longer in event_store")
                self._bury((row.event_id, handler, token), failure_without_trace(gone))
            else:
                attempt = token - row.attempts_before
                message = getattr(row, "lease", None)
                claims.append(Claim(_envelope_of(row), handler, token, attempt, worker, row.age, message))
        return claims

    def known(self, handler: str, event_ids: Collection[UUID]) -> set[UUID]:
        query = select(_DELIVERY.event_id).where(_DELIVERY.handler == handler, _DELIVERY.event_id.in_(list(event_ids)))
        with look(self._background) as connection:
            return set(connection.scalars(query))

    def extend(self, claims: Collection[Claim], lease: timedelta) -> int:
        with transaction(self._background) as connection:
            relaxed_commit(connection)
            self._unfold(connection, claims, waits=False)
            return connection.execute(
                extending(self._dialect).values(due_at=now_plus(connection, lease)),
                key_values(self._dialect, map(key_of, claims)),
            ).rowcount

    def succeed(self, connection: Connection, claims: Sequence[Claim]) -> None:
        settle(connection)
        first, done, one = claims[0], 0, len(claims) == 1
        values = key_values(self._dialect, map(key_of, claims), one=one) | moments(self._dialect)
        if leased := [claim for claim in claims if claim.lease is not None]:
            lease = {"of_lease": leased[0].lease, "of_them": len(leased), "by": leased[0].worker[:255]}
            done = connection.execute(succeeding_by_lease(one=one), values | lease, execution_options=OURS).rowcount
        if done < len(claims):
            done += connection.execute(succeeding(self._dialect, one=one), values, execution_options=OURS).rowcount
        if done != len(claims):
            raise LeaseLost(
                f"delivery of {first.envelope.id} to {first.handler}: attempt {first.attempt} by {first.worker} took "
                f"longer than its lease and another owns it now; its effects are rolled back"
                + (f", and those of {len(claims) - 1} others of its group" if len(claims) > 1 else "")
            )

    def succeeded(self, claim: Claim) -> bool:
        query = select(_DELIVERY.state, _DELIVERY.attempts).where(
            _DELIVERY.event_id == claim.envelope.id, _DELIVERY.handler == claim.handler
        )
        with transaction(self._engine) as connection:
            row = connection.execute(query.with_for_update()).one()
        return (row.state, row.attempts) == (State.SUCCEEDED, claim.token)

    def retry(self, claim: Claim, failure: Failure, delay: timedelta) -> bool:
        with transaction(self._engine) as connection:
            wake_relays(connection)  # the next delivery may now be due earlier than the relay thinks
            self._unfold(connection, [claim])
            mine = is_still(key_of(claim))
            return fail(connection, mine, failure, Outcome.RETRY, now_plus(connection, delay), claim.token) == 1

    def bury(self, claim: Claim, failure: Failure) -> bool:
        return self._bury(key_of(claim), failure)

    def _bury(self, key: Key, failure: Failure) -> bool:
        with transaction(self._engine) as connection:
            wake_relays(connection)  # the relay may copy the dead letter
            unfold(connection, [key])
            return fail(connection, is_still(key), failure, Outcome.DEAD) == 1

    def hand_back(self, claims: Collection[Claim], delay: timedelta, *, alone: bool = False) -> int:
        with transaction(self._background) as connection:
            self._unfold(connection, claims)
            return self._hand_back(connection, map(key_of, claims), delay, alone=alone)

    @staticmethod
    def _hand_back(connection: Connection, keys: Iterable[Key], delay: timedelta, *, alone: bool) -> int:
        if not delay:
            wake_relays(connection)
        not_counted = {"attempts_before": _DELIVERY.attempts_before + 1} | ({"alone": True} if alone else {})
        return write(connection, keys, state=waits(), due_at=now_plus(connection, delay), **not_counted)

    def pass_on(self, claims: Collection[Claim], unread: str = "") -> int:
        with transaction(self._engine) as connection:
            uncounted = {"attempts_before": _DELIVERY.attempts_before + 1}
            self._unfold(connection, claims)
            return write(connection, map(key_of, claims), **passed_on(connection, unread), **uncounted)

    def release(self, worker_prefix: str) -> int:
        with transaction(self._background) as connection:
            unfold_of(connection, worker_prefix)
            theirs = and_(in_state(State.RUNNING), _DELIVERY.worker.startswith(worker_prefix, autoescape=True))
            wake_relays(connection)
            return connection.execute(
                update(event_deliveries)
                .where(theirs)
                .values(state=waits(), due_at=now_plus(connection), attempts_before=_DELIVERY.attempts_before + 1)
            ).rowcount

    def abandon(
        self, handler: str, tokens: Mapping[UUID, int], failure: Failure, delay: timedelta, worker: str = ""
    ) -> int:
        lost = self._abandon(handler, tokens, failure, delay)
        return lost + (self._abandon_along(handler, worker) if worker else 0)

    def _abandon_along(self, handler: str, worker: str) -> int:
        running = and_(in_state(State.RUNNING), _DELIVERY.handler == handler, _DELIVERY.worker == worker[:255])
        query = select(_DELIVERY.event_id, _DELIVERY.handler, _DELIVERY.attempts).where(running)
        with transaction(self._background) as connection:
            keys = [tuple(row) for row in connection.execute(query.with_for_update())]
            return self._hand_back(connection, keys, timedelta(0), alone=True) if keys else 0

    def _abandon(self, handler: str, tokens: Mapping[UUID, int], failure: Failure, delay: timedelta) -> int:
        if len(tokens) > 1:
            keys = [(event_id, handler, token) for event_id, token in tokens.items()]
            with transaction(self._background) as connection:
                unfold(connection, keys)
                return self._hand_back(connection, keys, timedelta(0), alone=True)
        ((event_id, token),) = tokens.items()
        mine = is_still((event_id, handler, token))
        with transaction(self._background) as connection:
            unfold(connection, [(event_id, handler, token)])
            query = select(_DELIVERY.attempts_before, _DELIVERY.grouped).where(mine).with_for_update()
            row = connection.execute(query).first()
            if row is None:
                return 0
            if row.grouped:  # others ran beside it, that had messages of their own
                return self._hand_back(connection, [(event_id, handler, token)], timedelta(0), alone=True)
            wake_relays(connection)
            last = token - row.attempts_before >= max_attempts(connection, handler)
            if last:
                fail(connection, mine, failure, Outcome.DEAD)
            else:
                fail(connection, mine, failure, Outcome.RETRY, now_plus(connection, delay), token)
        return 1

    @staticmethod
    def _unfold(connection: Connection, claims: Collection[Claim], *, waits: bool = True) -> None:
        leased = [claim for claim in claims if claim.lease is not None]
        if leased:
            unfold(connection, [key_of(claim) for claim in leased], leased[0].worker, waits=waits)


def _envelope_of(row: Any) -> Envelope:
    return Envelope(
        id=row.event_id,
        aggregate_id=row.aggregate_id or "",
        event_type=row.event_type,
        event_data=str(row.event_data),
        version=row.version,
        timestamp=row.timestamp,
        schema_version=row.schema_version,
        metadata=row.metadata or "{}",
    )
