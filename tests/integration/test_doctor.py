"""`events doctor`, on real servers with real faults."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import kombu
import pytest
import redis
from sqlalchemy import make_url, text, update

from events.ledger.records import Subscription, WorkerInfo
from events.settings.settings import Settings
from events.store import migrate, open_ledger
from events.store.tables import event_deliveries, event_workers
from support.operator import events
from support.private_servers import free_port
from support.servers import PostgresDatabase, own_server, server_url
from support.store import Store

Doctor = Callable[..., dict[str, Any]]


@pytest.fixture
def database() -> Iterator[PostgresDatabase]:
    database = PostgresDatabase()
    yield database
    database.drop()


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """Runs the command; its report, with `level` telling the levels by check."""

    def run(expected_code: int | None = None, **settings: str) -> dict[str, Any]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
        (tmp_path / "nothing.py").touch()
        values = {"handlers": "nothing"} | settings
        environment |= {f"EVENTS_{name.upper()}": value for name, value in values.items()}
        done = events("doctor", "--json", environment=environment, folder=tmp_path)
        assert "Traceback" not in done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        report["level"] = {finding["check"]: finding["level"] for finding in report["findings"]}
        report["code"] = done.returncode
        assert (done.returncode == 1) == (report["errors"] > 0)
        assert all(finding["cure"] for finding in report["findings"] if finding["level"] != "ok")
        return report

    return run


def worker(**changes: Any) -> WorkerInfo:
    values: dict[str, Any] = {
        "name": "w1@host/abc", "host": "host", "pid": 1, "version": "0.1.0", "pool": "prefork", "concurrency": 2,
        "pool_size": 5, "queues": ["events"], "handlers": {},
    }  # fmt: skip
    return WorkerInfo(**values | changes)


def test_a_sound_system_has_no_errors(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "sound.py").write_text(
        "from events import DomainEvent, handles\n"
        "class Said(DomainEvent): pass\n"
        "@handles(Said)\n"
        "def hear(event: Said) -> None: ...\n"
    )
    with own_server("postgres") as machine:  # the tests' own forgets what was not written yet, and doctor says so
        # Given a migrated ledger and a living worker with the one handler that is subscribed
        ledger = open_ledger(Settings(database_url=machine.url, broker_url=""))
        migrate(ledger.engine)
        ledger.subscriptions.subscribe(
            [Subscription(event_type="Said", handler="hear", queue="events", max_attempts=3)]
        )
        ledger.workers.announce(worker(handlers={"hear": {"Said": "1:x"}}))
        ledger.close()
        # Then all is well
        report = doctor(database_url=machine.url, handlers="sound")
        assert (report["errors"], report["warnings"], report["code"]) == (0, 0, 0), report["findings"]


def test_a_database_that_forgets_is_named(doctor: Doctor, database: PostgresDatabase) -> None:
    # Given a server without fsync, as the tests' own is
    report = doctor(database_url=database.url)
    # Then doctor says so
    assert (report["level"]["fsync"], report["level"]["full_page_writes"]) == ("error", "error")


def test_what_nobody_runs_and_clocks_that_differ_are_found(doctor: Doctor, database: PostgresDatabase) -> None:
    # Given a handler without a worker, one whose queue nobody reads, an event nobody wants, a worker of tomorrow
    ledger = open_ledger(Settings(database_url=database.url, broker_url=""))
    migrate(ledger.engine)
    ledger.subscriptions.subscribe(
        [
            Subscription(event_type="Said", handler="hear", queue="events", max_attempts=3),
            Subscription(event_type="Said", handler="listen", queue="slow", max_attempts=3),
        ]
    )
    ledger.workers.announce(worker(handlers={"listen": {"Said": "1:x"}}, concurrency=60))
    ledger.workers.announce(worker(name="w2@host/def", version="0.2.0"))
    with ledger.engine.begin() as connection:
        connection.execute(
            update(event_workers).where(event_workers.c.name == "w2@host/def").values(clock_ahead=86_400)
        )
    ledger.close()
    # Then each is named, with its cure
    report = doctor(database_url=database.url)
    told = {finding["check"]: finding for finding in report["findings"]}
    assert told["handlers"]["level"] == "warning"
    assert "handler hear is subscribed, and no living worker has it" in told["handlers"]["found"]
    assert "-Q slow" in told["queues"]["cure"]
    assert (told["clock"]["level"], told["workers"]["level"]) == ("error", "warning")
    assert "w2@host/def is 86400.0 s ahead" in told["clock"]["found"]
    assert told["connections"]["level"] in ("warning", "error")


def test_workers_and_settings_without_handlers_are_found(doctor: Doctor, database: PostgresDatabase) -> None:
    # Given a ledger that nobody has subscribed to, and a worker without handlers
    ledger = open_ledger(Settings(database_url=database.url, broker_url=""))
    migrate(ledger.engine)
    ledger.workers.announce(worker())
    ledger.close()
    # Then both are named, with the setting
    report = doctor(database_url=database.url)
    found = [one["found"] for one in report["findings"] if one["check"] in ("idle workers", "EVENTS_HANDLERS")]
    assert found[0].startswith("EVENTS_HANDLERS=nothing defines no handler")
    assert found[1] == "worker w1@host/abc has no handler"


def test_connections_of_threads_are_counted_as_threads_use_them(doctor: Doctor, database: PostgresDatabase) -> None:
    # Given a worker of 60 threads, which the server has room for
    ledger = open_ledger(Settings(database_url=database.url, broker_url=""))
    migrate(ledger.engine)
    ledger.workers.announce(worker(pool="thread", concurrency=60))
    told = {finding["check"]: finding for finding in doctor(database_url=database.url)["findings"]}
    assert told["connections"]["level"] == "ok", told["connections"]
    # When it has more of them than the server has connections, smaller pools would be no cure
    ledger.workers.announce(worker(pool="thread", concurrency=250))
    ledger.close()
    told = {finding["check"]: finding for finding in doctor(database_url=database.url)["findings"]}
    assert told["connections"]["level"] == "error", told["connections"]
    assert "EVENTS_POOL_SIZE" not in told["connections"]["cure"]


@pytest.mark.parametrize("where", ["role", "database"])
def test_a_limit_of_the_role_or_the_database_counts_as_well(
    doctor: Doctor, database: PostgresDatabase, where: str
) -> None:
    # Given a role, or a database, that may have fewer connections than a worker uses
    ledger = open_ledger(Settings(database_url=database.url, broker_url=""))
    migrate(ledger.engine)
    ledger.workers.announce(worker(pool="thread", concurrency=60))
    role = f"limited_{database.name}"
    with ledger.engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT {40 if where == 'role' else -1}"))
        connection.execute(text(f"ALTER DATABASE {database.name} CONNECTION LIMIT {40 if where == 'database' else -1}"))
    # Then that is what is compared, and named in the cure
    url = make_url(database.url).set(username=role).render_as_string(hide_password=False)
    told = {finding["check"]: finding for finding in doctor(database_url=url)["findings"]}["connections"]
    assert told["level"] == "error", told
    assert f"the {where} allows 40" in told["found"]
    assert f"raise the {where}'s CONNECTION LIMIT" in told["cure"]
    with ledger.engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {role}"))
    ledger.close()


def test_what_runs_over_its_time_limit_is_found(doctor: Doctor, database: PostgresDatabase) -> None:
    # Given a delivery that has run for an hour
    store = Store(database.url)
    migrate(store.ledger.engine)
    store.subscribe()
    event_id = store.publish()
    (wakeup,) = store.take()
    store.claim(wakeup)
    with store.ledger.engine.begin() as connection:
        an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(event_deliveries).where(event_deliveries.c.event_id == event_id).values(
            started_at=an_hour_ago))  # fmt: skip
    store.ledger.close()
    # Then it is named, with its worker and what to do
    told = {finding["check"]: finding for finding in doctor(database_url=database.url)["findings"]}
    assert "hear has run for 36" in told["time limits"]["found"]
    assert "on worker w1" in told["time limits"]["found"]


def test_missing_tables_and_a_database_that_is_away_are_one_line_each(
    doctor: Doctor, database: PostgresDatabase
) -> None:
    report = doctor(database_url=database.url)
    assert report["level"]["schema"] == "error"
    report = doctor(database_url="postgresql://user:secret@127.0.0.1:1/nowhere")
    assert report["level"]["database"] == "error"
    assert "secret" not in json.dumps(report)


def test_a_broker_that_is_away_is_an_error(doctor: Doctor, tmp_path: Path) -> None:
    for url in ("redis://127.0.0.1:1/0", "amqp://guest:secret@127.0.0.1:1//"):
        report = doctor(database_url=f"sqlite:///{tmp_path / 'e.db'}", broker_url=url)
        assert report["level"]["broker"] == "error"
        assert "secret" not in json.dumps(report)


def test_redis_that_forgets_is_found(doctor: Doctor, tmp_path: Path) -> None:
    # Given a Redis that drops what it has no room for, and keeps nothing on disk
    url = server_url("REDIS")
    with redis.Redis.from_url(url, decode_responses=True) as client:
        before = client.config_get("maxmemory-policy")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            report = doctor(database_url=f"sqlite:///{tmp_path / 'e.db'}", broker_url=url)
        finally:
            client.config_set("maxmemory-policy", before["maxmemory-policy"])
    # Then both are named
    assert report["level"]["maxmemory-policy"] == "error"
    assert report["level"]["persistence"] == "warning"
    assert report["level"]["visibility_timeout"] == "ok"


def test_a_rabbitmq_queue_of_other_arguments_is_found(doctor: Doctor, tmp_path: Path) -> None:
    # Given a queue that somebody declared in his own way
    url, name = server_url("AMQP"), f"doctor-{uuid4().hex[:8]}"
    with kombu.Connection(url) as connection, connection.channel() as channel:
        channel.queue_declare(name, durable=True)
        try:
            settings = {"database_url": f"sqlite:///{tmp_path / 'e.db'}", "broker_url": url, "queue": name}
            report = doctor(**settings)
            # Then it is named; and a time limit beyond what RabbitMQ waits for an acknowledgement is, too
            assert report["level"]["queue"] == "error"
            assert report["level"]["consumer_timeout"] == "ok"
            assert doctor(**settings, time_limit="1h")["level"]["consumer_timeout"] == "error"
        finally:
            channel.queue_delete(name)


def test_settings_that_break_the_promise_are_found(doctor: Doctor, tmp_path: Path) -> None:
    # Given a celeryconfig.py that acknowledges early, and a machine that kills after 5 s
    (tmp_path / "celeryconfig.py").write_text("task_acks_late = False\n")
    (tmp_path / "fly.toml").write_text("kill_timeout = 5\n")
    report = doctor(database_url=f"sqlite:///{tmp_path / 'e.db'}")
    assert (report["level"]["celeryconfig.py"], report["level"]["kill_timeout"]) == ("error", "error")
    # When both are mended
    (tmp_path / "celeryconfig.py").write_text("worker_concurrency = 2\n")
    (tmp_path / "fly.toml").write_text("kill_timeout = 120\n")
    # Then they are in order
    report = doctor(database_url=f"sqlite:///{tmp_path / 'e.db'}")
    assert (report["level"]["celeryconfig.py"], report["level"]["kill_timeout"]) == ("ok", "ok")


def test_bridges_that_lead_nowhere_or_forward_nothing_are_found(doctor: Doctor, tmp_path: Path) -> None:
    # Given a bridge to a server that is there, one to a port that nobody has, and nothing to forward
    here, nobody = server_url("REDIS").partition("://")[2], free_port()
    bridges = f"redis+streams://{here}?direction=in nats://u:secret@127.0.0.1:{nobody}"
    report = doctor(1, bridges=bridges)
    found = [(one["check"], one["level"], one["found"]) for one in report["findings"] if "bridge" in one["check"]]
    # Then each is found
    assert [(check, level) for check, level, _ in found] == [
        ("bridge redis", "ok"), ("bridge nats", "error"), ("bridge nats", "warning"),
    ]  # fmt: skip
    assert "receives" in found[0][2]
    assert f"127.0.0.1:{nobody}" in found[1][2]
    assert "secret" not in json.dumps(report)
    # And a URL that makes no sense is one line
    wrong = next(one for one in doctor(1, bridges="pigeon://h")["findings"] if one["check"] == "bridges")
    assert "there is no bridge for pigeon://" in wrong["found"]


def test_an_alembic_that_would_drop_our_tables_is_found(doctor: Doctor, tmp_path: Path) -> None:
    # Given an application's own Alembic that knows nothing of the ledger
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations/env.py").write_text("context.configure(target_metadata=Base.metadata)\n")
    settings = {"database_url": f"sqlite:///{tmp_path / 'e.db'}"}
    assert doctor(**settings)["level"]["alembic"] == "warning"
    # When it is told
    (tmp_path / "migrations/env.py").write_text(
        "from events.alembic import include_object\n"
        "context.configure(target_metadata=Base.metadata, include_object=include_object)\n"
    )
    # Then all is well
    assert doctor(**settings)["level"]["alembic"] == "ok"
