"""Opens the ledger of a database, as the settings name it."""

from dataclasses import dataclass

from sqlalchemy import Engine

from events.ledger import (
    DeadLetterBox,
    EventLog,
    History,
    Inbox,
    Lineage,
    Outbox,
    Overviews,
    ParkingLot,
    Recovery,
    Retention,
    Subscriptions,
    Switches,
    Traces,
    Unhandled,
    WorkerRegistry,
)
from events.settings import Settings
from events.store.awaited.engines import AsyncEngines
from events.store.database.engine import make_engine
from events.store.database.pools import BACKGROUND, handlers_at_once, make_room
from events.store.event_log import SqlEventLog
from events.store.inbox import SqlInbox
from events.store.operating.dead_letters import SqlDeadLetterBox
from events.store.operating.history import SqlHistory
from events.store.operating.lineage import SqlLineage
from events.store.operating.overview import SqlOverviews
from events.store.operating.parked import SqlParkingLot
from events.store.operating.pausing import SqlSwitches
from events.store.operating.retention import SqlRetention
from events.store.operating.unhandled import SqlUnhandled
from events.store.outbox import SqlOutbox
from events.store.recovery import SqlRecovery
from events.store.schema.ledger_check import LedgerCheck
from events.store.schema.postgres_schema import Place, leave, take
from events.store.subscriptions import SqlSubscriptions
from events.store.traces import SqlTraces
from events.store.workers import SqlWorkers


@dataclass(frozen=True)
class Ledger:
    """One database with all its contracts: publishers use `events`, relays `outbox` and `recovery`, workers `inbox`.

    `engine` serves publishers and handlers. `background` serves work that must go on when those have taken all
    connections: heartbeats, the relay, the presence of workers, and the end of a worker. `engines` are of asyncio.
    """

    engine: Engine
    background: Engine
    engines: AsyncEngines
    events: EventLog
    subscriptions: Subscriptions
    outbox: Outbox
    recovery: Recovery
    inbox: Inbox
    dead: DeadLetterBox
    parked: ParkingLot
    workers: WorkerRegistry
    retention: Retention
    unhandled: Unhandled
    history: History
    lineage: Lineage
    overviews: Overviews
    switches: Switches
    traces: Traces
    place: Place

    def close(self) -> None:
        """Close all connections."""
        self.engines.close()
        self.engine.dispose()
        self.background.dispose()
        leave(self.place)

    def make_room(self, pool: str, concurrency: int, pool_size: int) -> None:
        """Make connections for all handlers that a process of this worker runs at a time.

        Closes connections that are open and not in use. `pool`: as in WorkerInfo.
        """
        make_room(self.engine, handlers_at_once(pool, concurrency), pool_size)
        self.background.dispose()


def open_ledger(settings: Settings, engine: Engine | None = None) -> Ledger:
    """Return the ledger in EVENTS_DATABASE_URL; it connects when it is first used.

    `engine` serves for everything, if a framework has connections of its own.

    Raises:
        ConfigurationError: this process has opened a ledger in another schema.
    """
    place = take(settings.ledger_schema)
    engine, background = (
        (engine, engine) if engine is not None else (make_engine(settings), make_engine(settings, BACKGROUND))
    )
    engines = AsyncEngines(settings)
    return Ledger(
        engine=engine,
        background=background,
        engines=engines,
        events=SqlEventLog(
            engine,
            notify=settings.listen,
            check=LedgerCheck(engine, given="database_url" in settings.model_fields_set),
        ),
        subscriptions=SqlSubscriptions(background),
        outbox=SqlOutbox(background, listen=settings.listen, handle_marked=settings.marked_by_others == "handle"),
        recovery=SqlRecovery(background),
        inbox=SqlInbox(engine, background, engines),
        dead=SqlDeadLetterBox(engine),
        parked=SqlParkingLot(background),
        workers=SqlWorkers(background),
        retention=SqlRetention(engine),
        unhandled=SqlUnhandled(engine),
        history=SqlHistory(engine),
        lineage=SqlLineage(engine),
        overviews=SqlOverviews(engine),
        switches=SqlSwitches(engine),
        traces=SqlTraces(engine),
        place=place,
    )
