"""Fills a ledger by SQL, as years would: rows like those that the package leaves behind, without the work."""

from rigs.bench.bed import QUEUE, Bed
from rigs.bench.models import COPIES
from rigs.bench.rig import Rig

TABLES = ("event_store", "event_deliveries")
_FINISHED_SALT, _BACKLOG_SALT = 1, 2
_AT_ONCE, _GROUP = 10_000, 100  # events between two looks at what is to be vacuumed, and in a transaction

# Ids that grow with time, as the package makes them; three deliveries an event, as in all targets.
_ID = "(lpad(to_hex(1600000000000 + n), 12, '0') || '70008000' || lpad(to_hex({salt}), 12, '0'))::uuid"
_EVENTS = """
    INSERT INTO event_store (id, aggregate_id, event_type, event_data, timestamp, processed, fanned_out, created_at)
    SELECT {id}, '', {type}, jsonb_build_object('number', n, 'customer', 'Duke Leto Atreides', 'lines', (
        SELECT jsonb_agg(jsonb_build_object('article', 'spice, harvested by crawler ' || line, 'quantity', '12.5 kg',
                                            'price', '199.90')) FROM generate_series(0, 4) AS line)),
        {at}, {processed}, {processed}::int, {at}
    FROM generate_series({first}, {last}) AS n
"""
_FINISHED = """
    INSERT INTO event_deliveries (event_id, handler, queue, state, attempts, due_at, created_at, sent_at, message,
                                  event_type, first_started_at, started_at, finished_at, worker)
    SELECT {id}, 'OnConnection.' || copy, '{queue}', 'succeeded', 1, at, at, at, n, 'OnConnection', at, at, at,
        'w@bench/bacf99f6.13901'
    FROM generate_series({first}, {last}) AS n, generate_series(0, 2) AS copy, LATERAL (SELECT {at} AS at) AS moment
"""
# Half of it is due in another queue, whose worker has more than it can do; half waits for tomorrow in the queue that is
# measured.
_BACKLOG = """
    INSERT INTO event_deliveries (event_id, handler, queue, state, due_at, created_at, event_type)
    SELECT {id}, CASE n % 2 WHEN 0 THEN 'Kept.' ELSE 'Later.' END || copy,
        CASE n % 2 WHEN 0 THEN 'elsewhere' ELSE '{queue}' END, 'pending',
        CASE n % 2 WHEN 0 THEN now() - interval '1 hour' ELSE now() + interval '1 day' END, {at}, 'Kept'
    FROM generate_series({first}, {last}) AS n, generate_series(0, 2) AS copy
"""
_OTHER_WORKER = """
    WITH handlers AS (
        INSERT INTO event_subscriptions (handler, event_type, queue, max_attempts, most, pace)
        SELECT 'Kept.' || copy, 'Kept', 'elsewhere', 8, 100, 0.001 FROM generate_series(0, 2) AS copy
        RETURNING handler, event_type)
    INSERT INTO event_workers (name, host, pid, version, pool, concurrency, pool_size, queues, handlers, clock_ahead,
                               started_at, seen_at)
    SELECT 'elsewhere@bench/0', 'elsewhere', 1, '0.1.0', 'prefork', 2, 5, '["elsewhere"]',
        jsonb_object_agg(handler, jsonb_build_object(event_type, '')), 0, now(), now() + interval '1 year'
    FROM handlers
"""
# Written as the package writes: each step is committed, or the dead rows of one would be alive for the next.
_WRITE_ON = """
    DO $write$
    BEGIN
        FOR since IN {first}..{last} BY {group} LOOP
            {events};
            COMMIT;
            UPDATE event_store SET processed = true, fanned_out = 1
            WHERE id IN (SELECT {id} FROM generate_series(since, least(since + {group} - 1, {last})) AS n);
            INSERT INTO event_deliveries (event_id, handler, queue, state, due_at, created_at, sent_at, message,
                                          event_type)
            SELECT {id}, 'OnConnection.' || copy, '{queue}', 'sent', now() + interval '1 minute', now(), now(), n,
                'OnConnection'
            FROM generate_series(since, least(since + {group} - 1, {last})) AS n, generate_series(0, 2) AS copy;
            COMMIT;
            FOR number IN 0..2 LOOP
                UPDATE event_deliveries SET state = 'succeeded', attempts = 1, first_started_at = now(),
                    started_at = now(), finished_at = now(), worker = 'w@bench/bacf99f6.13901'
                WHERE handler = 'OnConnection.' || number AND event_id IN (
                    SELECT {id} FROM generate_series(since, least(since + {group} - 1, {last})) AS n);
                COMMIT;
            END LOOP;
        END LOOP;
    END $write$
"""
# The tables that autovacuum would take up, by its own rule and the settings of the server or the table.
_TO_VACUUM = """
    SELECT pg_class.relname FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid, LATERAL (
        SELECT max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold') AS least,
            max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor') AS share
        FROM pg_options_to_table(reloptions)) AS own
    WHERE pg_class.relname = ANY (:tables) AND n_dead_tup >
        coalesce(least, current_setting('autovacuum_vacuum_threshold'))::int
        + coalesce(share, current_setting('autovacuum_vacuum_scale_factor'))::float * reltuples
"""


def fill(rig: Rig, finished: int, backlog: int, name: str, old: int = 0) -> None:
    """So many finished deliveries, `old` of them of 40 days ago and the others of yesterday, and so many that wait."""
    rig.say(f"filling {name}: {finished:,} finished deliveries and {backlog:,} that wait")
    at = f"now() - CASE WHEN n <= {old // COPIES} THEN interval '40 days' ELSE interval '1 day' END"
    for salt, kind, deliveries, count in (
        (_FINISHED_SALT, "'OnConnection'", _FINISHED, finished), (_BACKLOG_SALT, "'Kept'", _BACKLOG, backlog),
    ):  # fmt: skip
        values = {"id": _ID.format(salt=salt), "first": 1, "last": count // COPIES, "at": at, "queue": QUEUE}
        rig.admin(_EVENTS.format(type=kind, processed=True, **values), name)
        rig.admin(deliveries.format(**values), name)
    rig.admin(_OTHER_WORKER, name)
    rig.admin("VACUUM ANALYZE", name)


def write_on(rig: Rig, bed: Bed, finished: int, more: int) -> None:
    """So many `more` deliveries after `finished` ones, each row written as often as the package writes it.

    An event is inserted unprocessed; then it is marked as processed, and its deliveries are inserted as sent; then
    these are updated as succeeded, a group of one handler at a time. Autovacuum would clean up between, but not so fast
    as this writes: what it would do when, by its settings, is done here by VACUUM.
    """
    rig.admin(f"ALTER DATABASE {bed.name} SET synchronous_commit = off")  # to wait for the disk changes no size
    begin, end, id_ = finished // COPIES + 1, (finished + more) // COPIES, _ID.format(salt=_FINISHED_SALT)
    group = {"first": "since", "last": f"least(since + {_GROUP} - 1, {end})"}
    events = _EVENTS.format(id=id_, type="'OnConnection'", at="now()", processed=False, **group)
    for first in range(begin, end + 1, _AT_ONCE):
        last = min(first + _AT_ONCE - 1, end)
        batch = {"first": first, "last": last, "group": _GROUP, "id": id_, "queue": QUEUE, "events": events}
        rig.admin(_WRITE_ON.format(**batch), bed.name)
        clean_up(rig, bed)


def clean_up(rig: Rig, bed: Bed) -> None:
    """VACUUM ANALYZE the tables whose time it is."""
    for (table,) in bed.rows(_TO_VACUUM, tables=list(TABLES)):
        rig.admin(f"VACUUM ANALYZE {table}", bed.name)
