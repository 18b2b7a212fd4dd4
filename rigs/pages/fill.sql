-- Fills an empty ledger on PostgreSQL: :events events, two deliveries of each. All but a few are finished; some
-- hundredth part of a per cent of them waits; the dead ones failed in fifty ways.

\set ON_ERROR_STOP on
SET synchronous_commit = off;

CREATE TEMP TABLE kinds AS
SELECT n AS hundredth,
       CASE WHEN n < 60 THEN 'OrderPlaced' WHEN n < 80 THEN 'OrderPaid' WHEN n < 95 THEN 'ParcelSent'
            ELSE 'CustomerMoved' END AS event_type
FROM generate_series(0, 99) n;

INSERT INTO event_store (id, aggregate_id, event_type, event_data, timestamp, processed, fanned_out, created_at, metadata)
SELECT ('0193a000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       'order-' || n % 100000,
       CASE WHEN n BETWEEN :events / 2 AND :events / 2 + 99 THEN 'Refunded' ELSE event_type END,
       jsonb_build_object('order', 'order-' || n % 100000, 'amount', n % 900, 'lines', jsonb_build_array(n, n + 1)),
       now() - (:events - n) * interval '200 ms', true, 1, now() - (:events - n) * interval '200 ms',
       jsonb_build_object('correlation_id', '0193a000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))
FROM generate_series(1, :events) n JOIN kinds ON hundredth = n % 100;

-- An even number of events a dead letter, so that it isn't always the same type that fails.
INSERT INTO event_deliveries (event_id, handler, queue, state, attempts, replays, due_at, created_at, sent_at,
                              first_started_at, started_at, finished_at, worker, error_type, error, traceback, place,
                              copied, event_type)
SELECT id, (CASE side WHEN 0 THEN 'book_' ELSE 'tell_' END) || lower(event_type), 'events', state,
       CASE state WHEN 'pending' THEN 0 WHEN 'dead' THEN 3 ELSE 1 END, CASE WHEN state = 'dead' AND n % 7 = 0 THEN 1 ELSE 0 END,
       created_at, created_at, nullif(created_at, started), started, started,
       CASE WHEN state <> 'pending' THEN started + interval '40 ms' END, 'w1@host',
       CASE WHEN state = 'dead' THEN 'shop.errors.Problem' || why % 3 END,
       CASE WHEN state = 'dead' THEN 'no more of article ' || n % 1000 || ' in warehouse ' || n % 7 END,
       CASE WHEN state = 'dead' THEN 'Traceback (most recent call last):' || repeat(E'\n  File "shop/stock.py", line 17, in take\n    raise Problem(article, warehouse)', 30) END,
       CASE WHEN state = 'dead' THEN 'shop.stock.take' || why / 3 END, state = 'dead', event_type
FROM (
    SELECT id, event_type, created_at, created_at + interval '30 ms' AS started, side, n,
           n / 250 % 6 AS why,
           CASE WHEN n > :events - 2500 THEN 'pending' WHEN (n * 2 + side) % 250 = (n / 250) % 250 THEN 'dead' ELSE 'succeeded' END AS state
    FROM (SELECT *, ('x' || right(id::text, 12))::bit(48)::bigint AS n FROM event_store) numbered,
         generate_series(0, 1) side
) planned;

INSERT INTO event_attempts (event_id, handler, attempt, run, outcome, worker, started_at, ended_at, error_type, error, traceback, place)
SELECT event_id, handler, attempt, attempt, CASE attempt WHEN 3 THEN 'dead' ELSE 'retry' END, worker, started_at,
       finished_at, error_type, error, traceback, place
FROM event_deliveries, generate_series(1, 3) attempt WHERE state = 'dead';

INSERT INTO event_subscriptions (handler, event_type, queue, max_attempts)
SELECT side || lower(event_type), event_type, 'events', 3
FROM (SELECT DISTINCT event_type FROM kinds UNION SELECT 'Refunded') known, (VALUES ('book_'), ('tell_')) sides (side);

VACUUM ANALYZE;
SELECT state, count(*) FROM event_deliveries GROUP BY state ORDER BY state;
SELECT count(DISTINCT (handler, error_type, place)) AS groups FROM event_deliveries WHERE state = 'dead';
