"""A machine that vanishes without a word: the database is asked to notice, and lets its locks go."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from events.settings.settings import Settings
from events.store import migrate
from events.store.database.engine import make_engine
from rigs.chaos.machines import Machine
from support.servers import PostgresDatabase
from support.store import HOUR, Store
from support.waiting import eventually

NAMES = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")


@pytest.fixture
def database() -> Iterator[PostgresDatabase]:
    database = PostgresDatabase()
    yield database
    database.drop()


def said(url: str, **settings: object) -> list[str]:
    engine = make_engine(Settings(database_url=url, broker_url="", **settings))  # type: ignore[arg-type]
    try:
        with engine.connect() as connection:
            return [str(connection.scalar(text(f"SHOW {name}"))) for name in NAMES]
    finally:
        engine.dispose()


def test_the_database_looks_after_us_on_direct_connections_alone(database: PostgresDatabase) -> None:
    # Given a direct connection, and one that may go through PgBouncer
    # Then the first says how soon the database shall notice that we are gone, and the second says nothing
    assert said(database.url) == ["10", "5", "3", "15000"]
    others = said(database.url, listen=False)
    assert others[0] != "10"
    assert others[3] == "0"


def test_it_stays_said_when_transactions_roll_back(database: PostgresDatabase) -> None:
    engine = make_engine(Settings(database_url=database.url, broker_url=""))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.rollback()
        with contextlib.suppress(DBAPIError):
            connection.execute(text("SELECT nonsense"))
        connection.rollback()
        assert connection.scalar(text("SHOW tcp_user_timeout")) == "15000"
    engine.dispose()


@contextlib.contextmanager
def other_machine() -> Iterator[tuple[str, str, str]]:
    """A network of its own: its name, our address in it, and the link that can be cut."""
    name = f"ev{uuid4().hex[:8]}"
    octet = int(name[2:4], 16)
    ours, theirs = f"10.213.{octet}.1", f"10.213.{octet}.2"

    def ip(command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)

    try:
        ip(f"netns add {name}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network namespaces here")
    try:
        ip(f"link add {name}a type veth peer name {name}b netns {name}")
        ip(f"addr add {ours}/24 dev {name}a")
        ip(f"link set {name}a up")
        ip(f"-n {name} addr add {theirs}/24 dev {name}b")
        ip(f"-n {name} link set {name}b up")
        yield name, ours, f"{name}a"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip(f"netns delete {name}")


GHOST = """
import sys, time
from sqlalchemy import text
from events.settings import Settings
from events.store.database.engine import make_engine
engine = make_engine(Settings(database_url=sys.argv[1], broker_url=""))
with engine.begin() as connection:
    connection.execute(text("UPDATE event_deliveries SET worker = 'ghost'"))
    print("locked", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def server_at(address: str, folder: Path) -> Iterator[Machine]:
    """PostgreSQL, which listens to the other machine too."""
    folder.chmod(0o755)
    machine = Machine("postgres", folder)
    script = machine._server.script.replace("listen_addresses=127.0.0.1", f"listen_addresses=127.0.0.1,{address}")
    allowed = f'echo "host all all {address}/24 trust" >>data/pg_hba.conf; exec postgres'
    machine._server = replace(machine._server, script=script.replace("exec postgres", allowed))
    machine.start()
    try:
        yield machine
    finally:
        machine.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a network of its own")
def test_locks_of_a_machine_that_vanished_are_free_in_a_moment() -> None:
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        other_machine() as (name, ours, link),
        server_at(ours, Path(folder)) as server,
    ):
        store = Store(server.url)
        migrate(store.ledger.engine)
        store.subscribe()
        store.publish()
        store.ledger.outbox.fan_out(10)
        # Given another machine, which holds the lock of a delivery that is due
        command = ["ip", "netns", "exec", name, sys.executable, "-c", GHOST, server.url.replace("127.0.0.1", ours)]
        ghost = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert ghost.stdout is not None
            assert ghost.stdout.readline() == b"locked\n"
            assert store.take_due("q", 10, HOUR) == []
            # When it vanishes
            subprocess.run(["ip", "link", "set", link, "down"], check=True)
            # Then the delivery, passed over until now, is found as soon as the database has noticed
            eventually(lambda: store.take_due("q", 10, HOUR), "the lock is free", timeout=120)
        finally:
            ghost.kill()
            ghost.communicate()
            store.ledger.close()
