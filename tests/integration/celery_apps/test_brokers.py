"""Brokers of applications as they are in production: with TLS, behind Sentinel, with a prefix for all keys."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from events import publish
from shop import OrderPlaced
from support import private_servers
from support.certificates import Certificates, TLSServer, make
from support.market import Market
from support.servers import own_server, server_url
from support.waiting import eventually

OF_AN_ORDER = 3  # deliveries
BY_LEDGER = "handlers take their deliveries from the database, since they can't use the app's broker: "


def works(market: Market, says: str) -> None:
    """A worker says how handlers get their deliveries, and runs both kinds."""
    worker = market.start_market()
    worker.wait_for(says)
    publish([OrderPlaced(order=str(number)) for number in range(5)])
    assert market.ask("print([add.delay(i, i).get(timeout=60) for i in range(5)][-1])") == ["8"]
    market.settled(5 * OF_AN_ORDER)
    assert set(market.effects().values()) == {1}
    assert worker.stop() == 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tls-"))
    folder.chmod(0o755)  # the servers run as another user
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def certificates(folder: Path) -> Certificates:
    return make(folder)


@pytest.fixture(scope="module")
def secured(folder: Path, certificates: Certificates) -> Iterator[TLSServer]:
    server_url("REDIS")  # who has no plain one has none with TLS
    server = TLSServer("redis", folder, certificates)
    try:
        server.wait()
        yield server
    finally:
        server.end()


def test_redis_with_tls_by_options_in_the_url(secured: TLSServer, certificates: Certificates, tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        options = f"ssl_cert_reqs=required&ssl_ca_certs={certificates.authority}"
        market.environment["MARKET_BROKER_URL"] = f"rediss://localhost:{secured.port}/0?{options}"
        works(market, f"handlers' deliveries come from rediss://localhost:{secured.port}/0")


def test_redis_with_tls_by_a_setting(secured: TLSServer, certificates: Certificates, tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        market.environment["MARKET_BROKER_URL"] = f"rediss://localhost:{secured.port}/0"
        market.environment["MARKET_AUTHORITY"] = str(certificates.authority)
        works(market, f"{BY_LEDGER}broker_use_ssl is set")


def test_redis_with_a_certificate_that_nobody_vouches_for(secured: TLSServer, tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given handlers that have a broker of their own, whose certificate they are told to check, by no authority
        market.environment["EVENTS_BROKER_URL"] = f"rediss://localhost:{secured.port}/0?ssl_cert_reqs=required"
        worker = market.start_market()
        # Then a line says why none of them runs, and plain tasks do
        worker.wait_for("can't take deliveries from rediss://localhost")
        eventually(lambda: "certificate verify failed" in worker.log.read_text(), "the reason is said")
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]


def test_redis_behind_sentinel(folder: Path, tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market, own_server("redis") as master:
        # Given a sentinel that knows where the master is
        port = private_servers.free_port()
        script = f"""
            cat >sentinel.conf <<END
port $PORT
bind 127.0.0.1
sentinel monitor market 127.0.0.1 {master.port} 1
END
            exec redis-server sentinel.conf --sentinel
        """
        server = replace(private_servers.SERVERS["redis"], script=script)
        process = private_servers.start(server, folder / "sentinel", port)
        try:
            eventually(lambda: private_servers.answer(server, port).startswith(b"+PONG"), "the sentinel answers")
            # When the app's broker is behind it, Then plain tasks use it, and handlers the ledger
            market.environment["MARKET_BROKER_URL"] = f"sentinel://127.0.0.1:{port}/0"
            market.environment["MARKET_TRANSPORT_OPTIONS"] = json.dumps({"master_name": "market"})
            works(market, f"{BY_LEDGER}it is sentinel, and they use redis, rediss, amqp, amqps; EVENTS_BROKER_URL")
        finally:
            private_servers.stop(process, server.stop)


def test_redis_with_a_prefix_for_all_keys(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        options = {"global_keyprefix": f"{market.queue}:", "visibility_timeout": 600, "queue_order_strategy": "sorted"}
        market.environment["MARKET_TRANSPORT_OPTIONS"] = json.dumps(options)
        works(market, f"{BY_LEDGER}broker_transport_options has global_keyprefix")


def test_a_setting_of_ours_takes_what_can_be_used_alone(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        market.environment["EVENTS_BROKER_URL"] = "sentinel://127.0.0.1:26379/0"
        ended = market.run("celery", "-A", "market", "worker", "-c", "1")
        assert ended.returncode == 1
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith("events: ")]
        assert line.startswith("events: EVENTS_BROKER_URL='sentinel://127.0.0.1:26379/0': use redis://, rediss://, ")
