"""How the drivers of asyncio connect to PostgreSQL: by TLS, and to one of several hosts, as the URL says."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from events.errors import ConfigurationError
from events.settings.settings import Settings
from events.store.awaited.engines import check_driver, make_async_engine
from rigs.chaos.machines import Machine
from support import certificates, private_servers
from support.certificates import Certificates

DRIVERS = ("psycopg", "asyncpg")


class TLSPostgres(Machine):
    """A PostgreSQL server whose certificate is for `localhost`."""

    def __init__(self, folder: Path, made: Certificates) -> None:
        super().__init__("postgres", folder)
        key = f"install -m 600 {made.key} data/server.key"
        tls = f"-c ssl=on -c ssl_cert_file={made.server} -c ssl_key_file=server.key"
        script = self._server.script.replace("exec postgres", f"{key}\nexec postgres {tls}")
        self._server = replace(self._server, script=script)


@dataclass(frozen=True)
class Site:
    """A server, the authority that has signed its certificate, and a port where nobody listens."""

    port: int
    authority: Path
    dead: int


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="tls-"))
    folder.chmod(0o755)  # the server runs as another user
    made = certificates.make(folder)
    machine = TLSPostgres(folder, made)
    try:
        machine.start()
        yield Site(machine.port, made.authority, private_servers.free_port())
    finally:
        machine.end()
        shutil.rmtree(folder, ignore_errors=True)


def is_encrypted(url: str, driver: str) -> bool:
    """Connect, and ask the server whether this connection is encrypted. Raises what the driver raises."""

    async def ask() -> bool:
        settings = Settings(database_url=url, broker_url="", async_driver=driver)
        check_driver(settings)
        engine = make_async_engine(settings)
        try:
            async with engine.connect() as connection:
                query = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                return bool((await connection.execute(query)).scalar())
        finally:
            await engine.dispose()

    return asyncio.run(ask())


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("host", "options", "encrypted"),
    [
        ("localhost", "sslmode=verify-full&sslrootcert={authority}", True),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert={authority}", True),
        ("127.0.0.1", "sslmode=require", True),
        ("127.0.0.1", "sslmode=prefer&channel_binding=prefer&gssencmode=disable", True),
        ("127.0.0.1", "sslmode=disable", False),
    ],
)
def test_a_connection_is_as_encrypted_as_the_url_says(
    driver: str, host: str, options: str, encrypted: bool, site: Site
) -> None:
    url = f"postgresql://postgres@{host}:{site.port}/postgres?{options.format(authority=site.authority)}"
    assert is_encrypted(url, driver) is encrypted


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "options",
    ["127.0.0.1?sslmode=verify-full&sslrootcert={authority}", "localhost?sslmode=verify-full&sslrootcert={other}"],
)
def test_a_server_that_is_not_who_it_should_be_is_not_spoken_to(
    driver: str, options: str, site: Site, tmp_path: Path
) -> None:
    # Given a certificate for another name, or an authority that has not signed it
    other = certificates.make(tmp_path).authority
    host, _, query = options.format(authority=site.authority, other=other).partition("?")
    # When somebody insists, then nobody is connected
    with pytest.raises(Exception, match=r"(?i)certificate"):
        is_encrypted(f"postgresql://postgres@{host}:{site.port}/postgres?{query}", driver)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "hosts",
    [
        "host=127.0.0.1:{dead}&host=localhost:{port}",
        "host=127.0.0.1,localhost&port={dead},{port}",
    ],
)
def test_the_first_of_several_hosts_that_answers_is_taken(driver: str, hosts: str, site: Site) -> None:
    found = hosts.format(dead=site.dead, port=site.port)
    url = f"postgresql://postgres@/postgres?{found}&sslmode=verify-full&sslrootcert={site.authority}"
    assert is_encrypted(f"{url}&target_session_attrs=read-write", driver)
    # And if none is what was asked for, that is an error
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each driver has its own
        is_encrypted(f"{url}&target_session_attrs=standby", driver)
    assert not isinstance(caught.value, AssertionError)


@pytest.mark.parametrize(
    "option",
    ["channel_binding=require", "gssencmode=require", "sslcertmode=require", "require_auth=scram-sha-256",
     "requirepeer=postgres", "hostaddr=127.0.0.1", "sslcrldir=/tmp", "sslrootcert=system"],
)  # fmt: skip
def test_what_asyncpg_can_not_do_is_refused_when_the_worker_starts(option: str) -> None:
    name = option.partition("=")[0]
    for url, settings in (
        ("postgresql://u:secret@h/shop", {"async_driver": "asyncpg"}),
        ("postgresql+asyncpg://u:secret@h/shop", {}),
    ):
        asked: dict[str, Any] = {"database_url": f"{url}?{option}", "broker_url": "", **settings}
        with pytest.raises(
            ConfigurationError, match=rf"EVENTS_DATABASE_URL says {name}=\.\.\., which asyncpg"
        ) as caught:
            check_driver(Settings(**asked))
        assert "secret" not in str(caught.value)
    # And psycopg may do it
    with suppress(ImportError):
        check_driver(Settings(database_url=f"postgresql://u@h/shop?{option}", broker_url=""))
