"""The ledger in SQL: one implementation for SQLite and PostgreSQL, behind the ports that the spine speaks to.

`tables` says what is stored; `event_log`, `subscriptions`, `outbox`, `recovery`, `inbox`, `dead`, `parked`, `workers`,
`retention`, `unhandled`, `history`, `lineage`, `overview`, `switches` and `traces` each keep one contract, most of them
of events.ports or events.operator_ports, with the help of `fan_out`, `marked`, `arrivals`, `claiming`, `failing`,
`turns`, `callers`, `snapshots`, `ledger_check` and `wake_ups`; `schema` migrates, `sql_script` writes that down as SQL,
and `adopting` takes over a table of others; `place`, `engine`, `session`, `pooling`, `pooler` and `types` hold what
differs between databases, and their connections.
"""

from dataclasses import dataclass

from sqlalchemy import Engine

from events.operator_ports import DeadLetterBox, History, Lineage, Overviews, ParkingLot, Retention, Switches, Unhandled
from events.ports import EventLog, Inbox, Outbox, Recovery, Subscriptions, WorkerRegistry
from events.settings import Settings
from events.store.dead import SqlDeadLetterBox
from events.store.engine import make_engine
from events.store.event_log import SqlEventLog
from events.store.history import SqlHistory
from events.store.inbox import SqlInbox
from events.store.ledger_check import LedgerCheck
from events.store.lineage import SqlLineage
from events.store.outbox import SqlOutbox
from events.store.overview import SqlOverviews
from events.store.parked import SqlParkingLot
from events.store.place import Place, leave, take
from events.store.pooler import check_listening
from events.store.pooling import BACKGROUND, handlers_at_once, make_room
from events.store.recovery import SqlRecovery
from events.store.retention import SqlRetention
from events.store.schema import check_schema, migrate, pending
from events.store.sql_script import migration_sql
from events.store.subscriptions import SqlSubscriptions
from events.store.switches import SqlSwitches
from events.store.traces import SqlTraces
from events.store.unhandled import SqlUnhandled
from events.store.workers import SqlWorkers
from events.traces import Traces

__all__ = ["Ledger", "check_listening", "check_schema", "migrate", "migration_sql", "open_ledger", "pending"]


@dataclass(frozen=True)
class Ledger:
    """One database, as its users see it: publishers `events`, relays `outbox` and `recovery`, workers `inbox`.

    `engine` is for whoever publishes and for handlers; `background` for what must go on when those have taken all
    connections: heartbeats, relay, presence, and the end of a worker.
    """

    engine: Engine
    background: Engine
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
        self.engine.dispose()
        self.background.dispose()
        leave(self.place)

    def make_room(self, pool: str, concurrency: int, pool_size: int) -> None:
        """Connections for all handlers that a process of this worker runs at a time; `pool`: as in WorkerInfo.

        Closes those that are open and not in use.
        """
        make_room(self.engine, handlers_at_once(pool, concurrency), pool_size)
        self.background.dispose()


def open_ledger(settings: Settings) -> Ledger:
    """The ledger in EVENTS_DATABASE_URL; connects when first used.

    Raises:
        ConfigurationError: this process has opened one in another schema.
    """
    place = take(settings.ledger_schema)
    engine, background = make_engine(settings), make_engine(settings, BACKGROUND)
    return Ledger(
        engine=engine,
        background=background,
        events=SqlEventLog(
            engine,
            notify=settings.listen,
            check=LedgerCheck(engine, given="database_url" in settings.model_fields_set),
        ),
        subscriptions=SqlSubscriptions(background),
        outbox=SqlOutbox(background, listen=settings.listen, handle_marked=settings.marked_by_others == "handle"),
        recovery=SqlRecovery(background),
        inbox=SqlInbox(engine, background),
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
