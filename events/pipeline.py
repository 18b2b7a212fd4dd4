"""Joins settings, registry, store and transport. An application makes no pipeline itself: see `current_pipeline`."""

import inspect
from collections.abc import Callable, Collection

from sqlalchemy import Connection

from events import bridges, store
from events.bridges import Acceptance, Address, Bridge, Receiver, bridge_handlers
from events.delivery import Deliverer, Provided, takes_along
from events.errors import ConfigurationError, DefinitionError
from events.event import all_events
from events.handling import (
    ASYNC_SQL,
    SQL,
    Handler,
    Observing,
    all_forms,
    all_handlers,
    handler_named,
    place_of,
    remember,
)
from events.hooks import Hooks
from events.integration import is_public
from events.ledger import ALONG_WITHIN, Handled, Subscription
from events.operating import Correcting, DeadLetters, Inspection, ParkedMessages, Upkeep
from events.publishing import Publisher, Surroundings
from events.relay import Relay, RelayLimits, Transport
from events.settings import Settings
from events.tracing import open_tracing

_on_migrate: list[Callable[[Connection], None]] = []
_register_late: dict[Callable[[], None], None] = {}  # in order


class Pipeline:
    """All objects that publish, relay and deliver with the same settings.

    Args:
        transport: carries wake-ups; None for that of the settings.
        ledger: None for that of the settings.
        surroundings: the framework to whose transactions a publish() without a session belongs; None if there is none.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport | None = None,
        *,
        ledger: store.Ledger | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.settings = settings
        self.ledger = ledger or store.open_ledger(settings)
        self.hooks = Hooks()
        self.hooks.add(Observing())
        tracing = open_tracing(self.ledger.traces, self._queue_of)
        if tracing is not None:
            self.hooks.add(tracing)
        self.publisher = Publisher(self.ledger.events, settings.max_payload_bytes, tracing, surroundings)
        self.dead_letters = DeadLetters(self.ledger.dead, self.ledger.subscriptions.masked)
        self.correcting = Correcting(
            self.ledger.dead, self.ledger.history, allowed=settings.edit, max_bytes=settings.max_payload_bytes
        )
        self.history = Inspection(self.ledger.history, self.ledger.subscriptions.masked)
        self.upkeep = Upkeep(self.ledger.switches, self.ledger.overviews, self.ledger.workers)
        self.acceptance = Acceptance(
            self.ledger.events,
            self.ledger.subscriptions.event_types,
            max_bytes=settings.max_payload_bytes,
            own_source=settings.own_source,
            source=settings.source,
            accepted_by=lambda bridge, place: bridges.accepted_by(bridge, place, settings),
        )
        self.parked = ParkedMessages(
            self.ledger.parked,
            lambda message: self.transport.send_parked(message),
            self.acceptance.publish_parked,
            self.ledger.subscriptions.masked,
        )
        self.deliverers: dict[str, Deliverer] = {}  # the deliverers of this process, by worker name
        self.provided = Provided()
        self._transport = transport

    @property
    def transport(self) -> Transport:
        """The transport, which is opened when it is first needed: a process that only publishes touches no broker."""
        if self._transport is None:
            from events.transport import open_transport  # here: a process that only publishes need not load kombu

            self._transport = open_transport(self.settings)
        return self._transport

    def relay(
        self,
        *,
        handlers: Collection[Handled] | None = None,
        queues: Collection[str] | None = None,
        max_messages: int | None = None,
    ) -> Relay:
        """A new relay; for the arguments see Relay and RelayLimits."""
        limits = RelayLimits(
            batch=self.settings.relay_batch,
            max_in_flight=self.settings.max_in_flight,
            max_messages=max_messages,
            stale_after=self.settings.stale_after,
            poll_interval=self.settings.poll_interval,
            lease=self.settings.lease,
        )
        return Relay(
            subscriptions=self.ledger.subscriptions,
            outbox=self.ledger.outbox,
            recovery=self.ledger.recovery,
            transport=self.transport,
            limits=limits,
            hooks=self.hooks,
            handlers=handlers,
            forms=all_forms() if handlers is not None else (),
            queues=queues,
        )

    def deliverer(
        self,
        worker: str,
        stopping: Callable[[BaseException], bool] = lambda _: False,
        draining: Callable[[], bool] = lambda: False,
        overtime: Callable[[BaseException], bool] = lambda _: False,
        *,
        takes_along: bool = False,
    ) -> Deliverer:
        """A new deliverer; for the arguments see Deliverer."""
        return Deliverer(
            inbox=self.ledger.inbox,
            subscriptions=self.ledger.subscriptions,
            workers=self.ledger.workers,
            worker=worker,
            lease=self.settings.lease,
            hooks=self.hooks,
            provided=self.provided,
            stopping=stopping,
            draining=draining,
            overtime=overtime,
            time_limit=self.settings.time_limit,
            async_concurrency=self.settings.async_concurrency,
            takes_along=takes_along,
            shutdown_timeout=self.settings.shutdown_timeout,
        )

    def _queue_of(self, handler: str) -> str:
        return handler_named(handler).queue or self.settings.queue

    def register_bridges(self) -> None:
        """Make each outbound bridge a handler, once handlers are loaded. Raises ConfigurationError for a wrong URL."""
        if self.settings.bridges:
            for handler in bridge_handlers(bridges.opened(self.settings), list(all_events()), self.settings.source):
                remember(handler)

    def receiver(self, address: Address, bridge: Bridge, worker: str) -> Receiver:
        """The loop of an inbound bridge."""
        known = self.acceptance.refresh
        subscriber = bridge.subscriber(lambda: {*known(), *(event.event_name for event in all_events())})
        return Receiver(
            name=address.name,
            accept=address.accept,
            subscriber=subscriber,
            acceptance=self.acceptance,
            events=self.ledger.events,
            lot=self.ledger.parked,
            inbox=self.ledger.inbox,
            hooks=self.hooks,
            worker=worker,
            place=address.place,
        )

    def subscriptions(self) -> list[Subscription]:
        """The subscriptions of this process: each handler, with each event that it takes."""
        return [
            Subscription(
                event_type=event.event_name,
                handler=handler.name,
                queue=handler.queue or self.settings.queue,
                max_attempts=handler.retry.max_attempts,
                most=self._most(handler),
                batch=handler.batch or takes_along(handler, self.settings.async_concurrency),
                linger=ALONG_WITHIN if takes_along(handler, self.settings.async_concurrency) else handler.linger,
                masked=event.masked_fields,
                public=is_public(event),
            )
            for handler in all_handlers()
            for event in handler.events
        ]

    def _most(self, handler: Handler) -> int:
        """How many deliveries may share a message. Of those that run side by side, slow ones may, too."""
        at_once = self.settings.async_concurrency
        return at_once if takes_along(handler, at_once) else handler.most

    def subscribe(self) -> None:
        """Tell the ledger which handlers this process has. Workers call this when they start."""
        self.ledger.subscriptions.subscribe(self.subscriptions())

    def keep_subscribed(self) -> None:
        """Renew the subscriptions. Living workers call this now and then."""
        self.ledger.subscriptions.keep(self.subscriptions())

    def check(self) -> None:
        """Raise ConfigurationError if the database is away; SchemaError, with the command to run, if it isn't ready."""
        store.check_schema(self.ledger.engine)

    def check_listening(self) -> None:
        """Raise ConfigurationError if EVENTS_LISTEN is on and a pooler on the way makes LISTEN impossible."""
        if self.settings.listen:
            store.check_listening(self.ledger.engine)

    def check_async(self) -> None:
        """Raise ConfigurationError if handlers ask for SQL that EVENTS_DATABASE_URL, or what is installed, excludes."""
        wants = [(handler, handler.needs.wanted) for handler in all_handlers()]
        if driver := self.settings.url_driver:
            for handler in (one for one, wanted in wants if SQL & wanted):
                backend = self.settings.database_url.partition("+")[0]
                cure = (
                    f"{backend}://... and EVENTS_ASYNC_DRIVER=asyncpg" if driver == "asyncpg" else f"{backend}:///..."
                )
                raise ConfigurationError(
                    f"EVENTS_DATABASE_URL names {driver}, a driver of asyncio, and handler {handler.name!r} "
                    f"({handler.defined_at}) asks for a Session or Connection, which isn't; write {cure}, which serves "
                    f"both, or make the handler `async def` with an AsyncSession"
                )
        if any(ASYNC_SQL & wanted for _, wanted in wants):
            store.check_driver(self.settings)

    def migrate(self, *, leave_existing: bool = False) -> list[str]:
        """Create or update the tables, then call the application's @on_migrate functions. Returns the new revisions.

        `leave_existing`: see events.store.migrate.
        """
        applied = store.migrate(self.ledger.engine, leave_existing=leave_existing)
        with self.ledger.events.begin() as connection:
            for create in _on_migrate:
                create(connection)
        return applied

    def close(self) -> None:
        self.provided.close()
        if self._transport is not None:
            self._transport.close()
        self.ledger.close()


def register_late(register: Callable[[], None]) -> None:
    """Let `register` register handlers that are known only once all modules are loaded."""
    _register_late[register] = None


def late_handlers() -> None:
    """Register those handlers. Called before a process subscribes; may be called again."""
    for register in _register_late:
        register()


def on_migrate(create: Callable[[Connection], None] | None = None) -> Callable[[Connection], None]:
    """Decorator: `events migrate` calls the function each time, for the application's tables. It must be repeatable.

    Raises:
        DefinitionError: the decorator isn't on a plain function of one connection.
    """
    if create is None or not callable(create):
        raise DefinitionError("@on_migrate belongs on a function of a connection, without parentheses")
    if inspect.iscoroutinefunction(create):
        raise DefinitionError(f"@on_migrate at {place_of(create)}: no event loop runs there; make it a plain `def`")
    try:
        inspect.signature(create).bind(None)
    except TypeError as error:
        raise DefinitionError(f"@on_migrate at {place_of(create)}: it must take one connection ({error})") from None
    if create not in _on_migrate:
        _on_migrate.append(create)
    return create
