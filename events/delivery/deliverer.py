"""Claims deliveries, calls their handler in a transaction, and writes the outcome into the same transaction.

Mostly a delivery runs by itself, see `single`. Deliveries that came in one message run in a `group` or a `batch`.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from events.delivery.batch import BatchRunner
from events.delivery.claiming import Claiming
from events.delivery.group import GroupRunner
from events.delivery.heartbeat import Heartbeat
from events.delivery.outages import GaveUp, Outages
from events.delivery.pacing import Pacing
from events.delivery.provided import Provided
from events.delivery.side_by_side import SideBySideRunner
from events.delivery.single import SingleRunner
from events.delivery.tools import Tools
from events.delivery.transaction import Calls
from events.delivery.verdict import Judge, Results
from events.handling import Handler, handler_named
from events.hooks import Hooks
from events.ledger import Claim, Inbox, Outcome, Result, Subscriptions, WorkerRegistry, failure_of
from events.throttle import Throttle

log = logging.getLogger("events.delivery")


class Deliverer:
    """Runs deliveries in one process.

    Args:
        inbox: the part of the ledger that claims deliveries and stores outcomes.
        subscriptions: the part of the ledger that takes the pace of handlers.
        workers: the part of the ledger that knows the other living workers.
        worker: the name of this worker, which is shown with dead letters.
        lease: how long a claim lasts without a heartbeat.
        hooks: the watchers of this process.
        provided: what handlers of this process ask for by types of the application's own.
        stopping: tells whether an exception ends this process, rather than being a failure of the handler.
        draining: tells whether this process shall start nothing new.
        overtime: tells whether an exception is the time limit of the handler.
        time_limit: the time limit of handlers that have none of their own.
        async_concurrency: the deliveries of an `async def` handler that run side by side.
        takes_along: whether deliveries of other messages are taken along, while there is room for more of them.
        shutdown_timeout: the time that running handlers have from `draining` on.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        subscriptions: Subscriptions,
        workers: WorkerRegistry,
        worker: str,
        lease: timedelta,
        hooks: Hooks,
        provided: Provided,
        stopping: Callable[[BaseException], bool] = lambda _: False,
        draining: Callable[[], bool] = lambda: False,
        overtime: Callable[[BaseException], bool] = lambda _: False,
        time_limit: timedelta = timedelta(seconds=90),
        async_concurrency: int = 1,
        takes_along: bool = False,
        shutdown_timeout: timedelta = timedelta(seconds=90),
    ) -> None:
        throttle = Throttle(log)  # shared, as a database that is away troubles both for the same reason
        outages = Outages(inbox, throttle, overtime)
        self._tools = Tools(
            inbox=inbox,
            outages=outages,
            judge=Judge(inbox, workers, outages, hooks),
            calls=Calls(hooks, provided),
            heartbeat=Heartbeat(inbox, lease, throttle, time_limit),
            pacing=Pacing(subscriptions),
            stopping=stopping,
            draining=draining,
        )
        self._hooks = hooks
        self._claiming = Claiming(inbox, worker, lease)
        self._single = SingleRunner(self._tools)
        self._group = GroupRunner(self._tools)
        self._batch = BatchRunner(self._tools)
        self._side_by_side = SideBySideRunner(
            self._tools,
            at_once=async_concurrency,
            shutdown_timeout=shutdown_timeout,
            limit_of=lambda handler: handler.time_limit or time_limit,
            overtime=overtime,
            along=self._along if takes_along else None,
        )

    def deliver(self, handler: str, tokens: Mapping[UUID, int]) -> Results:
        """Run one attempt of each delivery of a handler. Returns the results, by event id; a failure is a result, too.

        While the database is away this waits for it.

        Args:
            tokens: the tokens of the deliveries, by event id.
        Raises:
            UnknownHandler: this process has no such handler; nothing was claimed.
            sqlalchemy.exc.DBAPIError: the database refused a statement.
        """
        known = handler_named(handler)
        with self._claiming.in_hand(handler, tokens) as ours:
            others = dict.fromkeys(tokens.keys() - ours.keys(), Result(Outcome.NOT_OURS))
            return others | (self._deliver(known, ours) if ours else {})

    def _deliver(self, handler: Handler, tokens: Mapping[UUID, int]) -> Results:
        try:
            claims = self._claim(handler, tokens)
        except GaveUp:  # the relay finds these wake-ups by their age, and sends them again
            return dict.fromkeys(tokens, Result(Outcome.HANDED_BACK))
        results = self._not_claimed(handler, tokens, claims)
        if strange := [claim for claim in claims if claim.envelope.event_type not in handler.event_types]:
            results |= self._passed_on(handler, strange)
            claims = [claim for claim in claims if claim.envelope.event_type in handler.event_types]
        return results | self._run_all(handler, claims)

    def overdue(self) -> list[str]:
        """Lines for people, about the handlers that have run over their time limit."""
        return self._tools.heartbeat.overdue()

    def abandon(self, handler: str, tokens: Mapping[UUID, int], error: BaseException, worker: str = "") -> int:
        """Record that the process which ran these attempts is gone. Attempts that have an outcome stay as they are.

        Returns how many had none. `worker`: its name, if what it had taken along is to be handed back, too.
        """
        delay = handler_named(handler).retry.backoff_after(1)
        if lost := self._tools.inbox.abandon(handler, tokens, failure_of(error), delay, worker):
            self._hooks.expired(lost)
        return lost

    def _claim(self, handler: Handler, tokens: Mapping[UUID, int]) -> list[Claim]:
        """Claim these deliveries. Raises GaveUp if this process shall end before the database is back."""
        claiming = self._claiming.of(handler.name, tokens, each=self._side_by_side.takes(handler))
        return self._tools.outages.wait_out(claiming, until=self._tools.draining)

    def _not_claimed(self, handler: Handler, tokens: Mapping[UUID, int], claims: Collection[Claim]) -> Results:
        """The results of deliveries that we asked for and didn't get: they are done, another worker's, or unknown."""
        left = tokens.keys() - {claim.envelope.id for claim in claims}
        if not left:
            return {}
        known = self._tools.outages.wait_out(lambda: self._tools.inbox.known(handler.name, left))
        return {event_id: Result(Outcome.NOT_OURS if event_id in known else Outcome.UNKNOWN) for event_id in left}

    def _passed_on(self, handler: Handler, claims: Collection[Claim]) -> Results:
        """The handler's code takes these events no longer, or not yet: they wait for a worker with other code."""
        event_types = sorted({claim.envelope.event_type for claim in claims})
        log.warning(
            "%s doesn't take events %s here; %d of its deliveries wait for a worker where it does",
            handler.name,
            ", ".join(event_types),
            len(claims),
            extra={"handler": handler.name},
        )
        self._tools.outages.wait_out(lambda: self._tools.inbox.pass_on(claims))
        return {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}

    def _along(self, handler: Handler, claims: Sequence[Claim], most: int) -> list[Claim]:
        """Up to `most` further deliveries of the handler, for the group that runs. None is no harm, nor is an error."""
        try:
            taken = self._claiming.along(claims, most)
            if strange := [claim for claim in taken if claim.envelope.event_type not in handler.event_types]:
                self._passed_on(handler, strange)
        except Exception as error:
            log.debug("can't take further deliveries of %s along: %s", handler.name, error)
            return []
        return [claim for claim in taken if claim.envelope.event_type in handler.event_types]

    def _run_all(self, handler: Handler, claims: Sequence[Claim]) -> Results:
        results: Results = {}
        try:
            for part in self._parts(handler, claims):
                results |= self._run(handler, part)
                self._announce(part, results)
        finally:
            self._tools.calls.forget(claims)
        return results

    def _parts(self, handler: Handler, claims: Sequence[Claim]) -> Iterator[Sequence[Claim]]:
        """The claims in parts of the size that the handler allows. The relay may have known code that allows more."""
        most = handler.most
        if not handler.batch and self._side_by_side.takes(handler):
            most = max(1, len(claims))
        for start in range(0, len(claims), most):
            yield claims[start : start + most]

    def _run(self, handler: Handler, claims: Sequence[Claim]) -> Results:
        if self._side_by_side.takes(handler):
            along: list[Claim] = []
            try:
                results = self._side_by_side.run(handler, claims, along)
                self._announce(along, results)
            finally:
                self._tools.calls.forget(along)
                self._claiming.let_go(along)
            return {claim.envelope.id: results[claim.envelope.id] for claim in claims}
        if len(claims) == 1:
            return {claims[0].envelope.id: self._single.run(handler, claims[0])}
        return (self._batch if handler.batch else self._group).run(handler, claims)

    def _announce(self, claims: Sequence[Claim], results: Results) -> None:
        """Tell the watchers the result of each delivery, and how long it took."""
        if not claims:
            return
        ended = [(claim, results[claim.envelope.id], self._tools.calls.took(claim)) for claim in claims]
        for attempt in ended:
            self._hooks.attempted(*attempt)
        self._hooks.ended(ended)
