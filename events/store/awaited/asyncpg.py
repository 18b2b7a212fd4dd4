"""asyncpg's connections, watched as `watched_connections` watches the others.

SQLAlchemy prepares each statement once, and runs it past the connection's methods: so the engine tells of each, too.
"""

from typing import Any
from urllib.parse import urlencode

import asyncpg
from sqlalchemy import URL

from events.store.awaited.asyncpg_options import LEFT_OUT
from events.store.database.statement_effects import Touch
from events.store.database.watched_connections import SETTINGS, Watched

_ENDS = ("COMMIT;", "ROLLBACK;")  # as asyncpg ends a transaction
_CONNECT_WITHIN = 10.0  # seconds, if the URL says nothing else


async def connect(url: URL, **options: Any) -> "WatchedAsyncpg":
    """Connect as the URL says, which may have the options of libpq."""
    query = {name: value for name, value in url.query.items() if name not in LEFT_OUT}
    query.setdefault("application_name", "events")
    within = url.query.get("connect_timeout") or _CONNECT_WITHIN
    dsn = url.set(drivername="postgresql", query={}).render_as_string(hide_password=False)
    hosts = query.pop("host", None)
    addresses = _addresses(hosts, query.pop("port", None), url.port)
    connection: WatchedAsyncpg = await asyncpg.connect(
        f"{dsn}?{urlencode(query)}", connection_class=WatchedAsyncpg, timeout=float(str(within)), **addresses, **options
    )
    return connection


def _addresses(hosts: Any, ports: Any, port: int | None) -> dict[str, Any]:
    """The arguments for hosts that are options of the URL, repeated or with commas: `host:port` each, or with ports of
    their own."""
    if hosts is None:
        return {}
    named = [host for one in ([hosts] if isinstance(hosts, str) else hosts) for host in one.split(",")]
    given = ports.split(",") if isinstance(ports, str) else list(ports or ())
    found: list[tuple[str, int]] = []
    for place, one in enumerate(named):
        host, _, own = one.rpartition(":") if ":" in one and not one.startswith("/") else (one, "", "")
        found.append((host or one, int(own or (given[min(place, len(given) - 1)] if given else port or 5432))))
    return {"host": [host for host, _ in found], "port": [number for _, number in found]}


class WatchedAsyncpg(asyncpg.Connection, Watched):  # type: ignore[misc]
    """asyncpg's connection, watched."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.set_up()

    @property
    def closed(self) -> bool:
        return bool(self.is_closed())

    async def see(self, statement: Any, values: Any = None) -> None:
        """Called before a statement is sent."""
        before = self.watch.touched
        self.watch.see(self, statement, values)
        if self.watch.touched and not before and self.watch.handler is not None:
            self.watch.settings = await self.shown()

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        await self.see(query, args)
        if query in _ENDS and self.watch.pooled and self.watch.touched is Touch.CONNECTION:
            query += " BEGIN;"  # see WatchedPostgres: a pooler must not give this server connection to another client
        return await super().execute(query, *args, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        await self.see(command)
        return await super().executemany(command, args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        await self.see(query, args)
        return await super().fetch(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        await self.see(query, args)
        return await super().fetchval(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        await self.see(query, args)
        return await super().fetchrow(query, *args, **options)

    async def prepare(self, query: str, **options: Any) -> Any:
        await self.see(query)
        return await super().prepare(query, **options)

    def cursor(self, query: str, *args: Any, **options: Any) -> Any:
        self.watch.see(self, query, args)
        return super().cursor(query, *args, **options)

    def transaction(self, **options: Any) -> Any:
        if self.watch.handler is not None and options.get("readonly"):
            self.watch.refuse(Touch.READ_ONLY, "transaction(readonly=True)")
        return super().transaction(**options)

    async def shown(self) -> dict[str, str]:
        """The present values of the settings that our own statements depend on."""
        try:
            return {name: await super(WatchedAsyncpg, self).fetchval(f"SHOW {name}") for name in SETTINGS}
        except asyncpg.PostgresError:  # the transaction has failed already, and no more statements are sent in it
            return {}
