"""The tables of the ledger. The migrations create them; a test keeps the two equal."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    and_,
    false,
    literal_column,
    text,
    true,
)

from events.ledger import Mark
from events.store.database.types import (
    Id,
    Ids,
    Json,
    StoredText,
    UtcDateTime,
    causation_id,
    correlation_id,
    is_correlated,
    sender_event_id,
    utc_now,
)

metadata = MetaData()


# The first eight columns are a public interface: any program that inserts just them is a publisher.
event_store = Table(
    "event_store",
    metadata,
    Column("id", Id, nullable=False),
    Column("aggregate_id", StoredText(255), nullable=True),
    Column("event_type", StoredText(255), nullable=False),
    Column("event_data", Json, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("timestamp", UtcDateTime, nullable=False, server_default=utc_now()),
    # Fanned out by us, or marked by another program.
    Column("processed", Boolean, nullable=False, server_default=false()),
    Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
    Column("schema_version", Integer, nullable=False, server_default=text("1")),
    Column("metadata", Json, nullable=False, server_default=text("'{}'")),
    Column("fanned_out", SmallInteger, nullable=False, server_default=text("0")),  # a Mark
    PrimaryKeyConstraint("id", name="event_store_pkey"),
)

# `processed = false` and not `IS false`, so that the planner uses the index for the same condition in queries.
is_unprocessed = event_store.c.processed == false()
Index(
    "event_store_unprocessed",
    event_store.c.processed,
    event_store.c.timestamp,
    postgresql_where=is_unprocessed,
    sqlite_where=is_unprocessed,
)
# For queries by type. The condition is written differently from the one above, so that PostgreSQL can't use its index
# to find the next events of a type: that index begins with all events that no handler wants, and the planner doesn't
# know how many these are.
is_new = event_store.c.processed.is_not(true())
Index(
    "event_store_new",
    event_store.c.event_type,
    event_store.c.timestamp,
    event_store.c.id,
    postgresql_where=is_new,
    sqlite_where=is_new,
)
is_processed = event_store.c.processed == true()
Index(  # by age; a new event is not in this index, so publishing costs nothing more
    "event_store_processed",
    event_store.c.created_at,
    event_store.c.id,
    postgresql_where=is_processed,
    sqlite_where=is_processed,
)
Index(  # events of one type, by age
    "event_store_type",
    event_store.c.event_type,
    event_store.c.created_at,
    event_store.c.id,
    postgresql_where=is_processed,
    sqlite_where=is_processed,
)


# Another program has marked the event as processed. Events that we fan out are in this index neither before nor after.
# The condition is written differently from `is_processed`, so that PostgreSQL can't search all processed events for it.
is_marked_by_others = and_(
    event_store.c.processed.is_not(false()), event_store.c.fanned_out != literal_column(str(Mark.FANNED_OUT.value))
)
Index(
    "event_store_marked",
    event_store.c.fanned_out,
    event_store.c.created_at,
    event_store.c.event_type,
    postgresql_where=is_marked_by_others,
    sqlite_where=is_marked_by_others,
)
Index("event_store_aggregate", event_store.c.aggregate_id, event_store.c.version)
# "What did this event cause?" Most events have no cause, and are not in this index.
Index(
    "event_store_caused",
    causation_id(),
    postgresql_where=causation_id().is_not(None),
    sqlite_where=causation_id().is_not(None),
    _table=event_store,
)
Index(  # and "what else did that request cause?"
    "event_store_correlated",
    correlation_id(),
    postgresql_where=is_correlated(),
    sqlite_where=is_correlated(),
    _table=event_store,
)
Index(  # "which event has this id at its sender?"
    "event_store_sent_as",
    sender_event_id(),
    postgresql_where=sender_event_id().is_not(None),
    sqlite_where=sender_event_id().is_not(None),
    _table=event_store,
)

event_deliveries = Table(
    "event_deliveries",
    metadata,
    Column("event_id", Id, nullable=False),
    Column("handler", String(255), nullable=False),
    Column("queue", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),  # only grows: the token of the last attempt
    # Of these, attempts that don't count: made before the last replay, or handed back.
    Column("attempts_before", Integer, nullable=False, server_default=text("0")),
    Column("replays", Integer, nullable=False, server_default=text("0")),
    Column("due_at", UtcDateTime, nullable=False),  # its meaning in each state: see events.ledger.records
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("first_started_at", UtcDateTime),  # NULL after a first attempt that succeeded in a group: see started_at
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("worker", String(255)),
    Column("error_type", String(255)),
    Column("error", Text),
    Column("traceback", Text),
    Column("place", String(255)),  # the line of the application at which it failed
    Column("copied", Boolean, nullable=False, server_default=false()),  # the broker has a copy of the dead letter
    Column("message", BigInteger),  # the message that carries it when it is sent: the same for a whole group
    Column("grouped", Boolean, nullable=False, server_default=false()),  # whether a running delivery runs in a group
    Column("alone", Boolean, nullable=False, server_default=false()),  # its group failed: it runs alone from now on
    Column("event_type", String(255)),  # the event's type, to count by
    Column("passes", Integer, nullable=False, server_default=text("0")),  # times that a worker passed it on to others
    Column("unread", String(64)),  # the form (events.event.fingerprint) of the workers that couldn't read its event
    PrimaryKeyConstraint("event_id", "handler", name="event_deliveries_pkey"),
)


def _partial_index(name: str, where: str, *columns: str) -> None:
    indexed = (event_deliveries.c[column] for column in columns)
    Index(name, *indexed, postgresql_where=text(where), sqlite_where=text(where))


_partial_index("event_deliveries_pending", "state = 'pending'", "queue", "due_at")
_partial_index("event_deliveries_passed", "state = 'pending' AND passes > 0", "due_at")
_partial_index("event_deliveries_sent", "state = 'sent'", "queue", "sent_at")
_partial_index("event_deliveries_running", "state = 'running'", "due_at")
_partial_index("event_deliveries_dead", "state = 'dead'", "finished_at")
_partial_index("event_deliveries_dead_alike", "state = 'dead'", "handler", "error_type", "place")
_partial_index("event_deliveries_dead_type", "state = 'dead'", "event_type")
_partial_index("event_deliveries_paused", "state = 'paused'", "handler")

# Groups of deliveries that a worker runs: see events.store.leases. PostgreSQL alone has rows here.
event_leases = Table(
    "event_leases",
    metadata,
    Column("message", BigInteger, nullable=False, autoincrement=False),
    Column("handler", String(255), nullable=False),
    Column("event_ids", Ids, nullable=False),
    Column("worker", String(255), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("message", name="event_leases_pkey"),
)
Index("event_leases_until", event_leases.c.until)

event_subscriptions = Table(
    "event_subscriptions",
    metadata,
    Column("handler", String(255), nullable=False),
    Column("event_type", String(255), nullable=False),
    Column("queue", String(255), nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("most", Integer, nullable=False, server_default=text("1")),  # deliveries that may share a message
    Column("batch", Boolean, nullable=False, server_default=false()),  # the handler takes them all in one call
    Column("linger", Float, nullable=False, server_default=text("0")),  # seconds that a batch waits for more
    Column("pace", Float),  # seconds that one delivery takes, as workers measure it; unknown at first
    Column("updated_at", UtcDateTime, nullable=False, server_default=utc_now()),
    Column("masked", Json, nullable=False, server_default=text("'[]'")),  # shown to people as ***: field names
    Column("public", Boolean, nullable=False, server_default=false()),  # the event may come from other services
    Column("definition", String(32)),  # see Subscription.definition
    Column("definitions", Json, nullable=False, server_default=text("'[]'")),  # in the order of their first appearance
    Column("orphaned_at", UtcDateTime),  # the time since which no living worker has the handler, while others live
    Column("changed_at", UtcDateTime),  # its deliveries may be in the wrong queue: see `routing`
    # The time of the first subscription: events that others processed before are not for the handler. NULL: not known.
    Column("subscribed_at", UtcDateTime),
    PrimaryKeyConstraint("handler", "event_type", name="event_subscriptions_pkey"),
)

# Handlers that an operator paused, or resumed a moment ago.
event_handlers = Table(
    "event_handlers",
    metadata,
    Column("handler", String(255), nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("changed_by", String(255), nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("handler", name="event_handlers_pkey"),
)


# Attempts that failed; the delivery itself has only the last failure.
event_attempts = Table(
    "event_attempts",
    metadata,
    Column("event_id", Id, nullable=False),
    Column("handler", String(255), nullable=False),
    Column("attempt", Integer, nullable=False),  # its token: see events.ledger.records
    Column("run", Integer, nullable=False),  # the attempt that people see: counted since the last replay, from 1
    Column("outcome", String(16), nullable=False),
    Column("worker", String(255)),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime, nullable=False),
    Column("error_type", String(255)),
    Column("error", Text),
    Column("traceback", Text),
    Column("place", String(255)),
    Column("traceparent", String(64)),  # of the attempt's span; the next attempt's span links to it
    PrimaryKeyConstraint("event_id", "handler", "attempt", name="event_attempts_pkey"),
)

# Actions of operators: a row for each delivery; an action on a handler as a whole has no event.
event_actions = Table(
    "event_actions",
    metadata,
    Column("id", Id, nullable=False),
    Column("event_id", Id),
    Column("handler", String(255), nullable=False),
    Column("action", String(16), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("acted_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("id", name="event_actions_pkey"),
)
Index("event_actions_event", event_actions.c.event_id, event_actions.c.handler, event_actions.c.acted_at)

# Messages that are not wake-ups, kept with their bytes until an operator replays or discards them.
event_parked = Table(
    "event_parked",
    metadata,
    Column("id", Id, nullable=False),
    Column("queue", String(255), nullable=False),
    Column("reason", String(64), nullable=False),  # a word of a small set, to count by
    Column("detail", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("properties", Json, nullable=False),  # headers, content type and encoding, as far as JSON holds them
    Column("state", String(16), nullable=False),
    Column("worker", String(255)),
    Column("parked_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),  # replayed or discarded
    PrimaryKeyConstraint("id", name="event_parked_pkey"),
)
Index(
    "event_parked_open",
    event_parked.c.parked_at,
    postgresql_where=text("state = 'parked'"),
    sqlite_where=text("state = 'parked'"),
)
Index(
    "event_parked_closed",
    event_parked.c.closed_at,
    postgresql_where=text("state <> 'parked'"),
    sqlite_where=text("state <> 'parked'"),
)

# The living workers, and what each understands: a worker writes its row at start, and renews it.
event_workers = Table(
    "event_workers",
    metadata,
    Column("name", String(255), nullable=False),  # node name and a token, as host names may be reused
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(64), nullable=False),  # the version of this package
    Column("pool", String(32), nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("pool_size", Integer, nullable=False),  # database connections that each of its processes may keep
    Column("queues", Json, nullable=False),  # list of names
    Column("handlers", Json, nullable=False),  # handler name to event type to fingerprint of the event's fields
    Column("clock_ahead", Float, nullable=False),  # seconds by which its clock is ahead of the database's
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("activity", Json, nullable=False, server_default=text("'{}'")),  # see events.ledger.WorkerInfo
    Column("definitions", Json, nullable=False, server_default=text("'{}'")),  # see events.ledger.WorkerInfo
    PrimaryKeyConstraint("name", name="event_workers_pkey"),
)
