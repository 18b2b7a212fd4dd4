"""The real servers that tests run against, as scripts/test provides them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from rigs.chaos.machines import Machine


def server_url(name: str) -> str:
    """The URL of a test server. Without it the test is skipped at home and fails in CI."""
    variable = f"EVENTS_TEST_{name}_URL"
    url = os.environ.get(variable)
    if url:
        return url
    reason = f"{variable} is not set; scripts/test starts the servers"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def own_server(name: str) -> Iterator[Machine]:
    """A server that nobody else uses, so that it may be stopped, restarted and wiped."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    folder.chmod(0o755)  # the server runs as another user
    machine = Machine(name, folder)
    try:
        machine.start()
        yield machine
    finally:
        machine.end()
        shutil.rmtree(folder, ignore_errors=True)


def pooled(url: str, pooler: str = "") -> str:
    """The same database through PgBouncer: that of the tests, in transaction mode, or the one with this URL."""
    front = make_url(pooler or server_url("PGBOUNCER"))
    there = make_url(url).set(host=front.host, port=front.port, username=front.username, password=front.password)
    return there.render_as_string(hide_password=False)


class PostgresDatabase:
    """A database of its own on the test server, dropped at the end."""

    def __init__(self, template: str = "template1") -> None:
        self._server = server_url("POSTGRES")
        self.name = f"events_test_{uuid4().hex[:12]}"
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}"), template)
        self.url = self._server.rsplit("/", 1)[0] + f"/{self.name}"

    def drop(self) -> None:
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)"))

    def _run(self, statement: sql.SQL, *names: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement.format(*map(sql.Identifier, (self.name, *names))))
