"""Everything that can be set, with the defaults. docs/settings.md shows this table; a test keeps the two equal."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from events.settings.durations import Duration
from events.settings.rules import LEAST, broken_rules
from events.settings.urls import ASYNC_DRIVERS, broker_url, database_url

PREFIX = "EVENTS_"
HARD_LIMIT_GRACE = timedelta(seconds=10)  # after the time limit a handler may clean up this long, then it is killed


def _names(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Settings(BaseSettings):
    """Everything that can be set. Durations are seconds, or a number with a unit (`500ms`, `30s`, `5m`, `1h`, `7d`)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, populate_by_name=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    database_url: str = Field(
        "sqlite:///events.db",
        validation_alias=AliasChoices("EVENTS_DATABASE_URL", "DATABASE_URL"),
        description="The ledger: PostgreSQL or an SQLite file. Else `DATABASE_URL`; `postgres://` is understood.",
        repr=False,
    )
    ledger_schema: str = Field(
        "",
        validation_alias=AliasChoices("EVENTS_SCHEMA"),
        description="Schema of PostgreSQL for the ledger's tables, which `events migrate` makes. Empty: the one that "
        "the search path leads to, as a rule `public`. The same for all that publish and work.",
    )
    broker_url: str = Field(
        "",
        validation_alias=AliasChoices("EVENTS_BROKER_URL", "AMQP_URL", "CLOUDAMQP_URL", "REDIS_URL"),
        description="`amqp://`, `amqps://`, `redis://` or `rediss://`. Else `AMQP_URL`, `CLOUDAMQP_URL`, `REDIS_URL`. "
        "Empty: no broker, workers feed themselves from the ledger.",
        repr=False,
    )
    handlers: Annotated[tuple[str, ...], NoDecode] = Field(
        ("handlers",), description="Modules or packages that define handlers, separated by commas."
    )
    queue: str = Field(
        "events", description="Queue of handlers that name none; `<queue>.dead` takes copies of dead letters."
    )
    max_payload_bytes: int = Field(256 * 1024, ge=1, description="Largest data of one event, in bytes of JSON.")
    time_limit: Duration = Field(
        timedelta(seconds=90),
        description="A handler's run is stopped after this long, unless it names its own limit (prefork pool only; "
        "killed 10 s later).",
    )
    lease: Duration = Field(
        timedelta(seconds=60),
        description="A running delivery whose worker is silent this long is given to another. Workers extend it "
        "every third of it.",
    )
    stale_after: Duration = Field(
        timedelta(seconds=60), description="After this long a wake-up that is no longer in its queue is sent again."
    )
    poll_interval: Duration = Field(
        timedelta(seconds=2),
        description="The relay looks at the ledger at least this often, woken or not: what programs insert that don't "
        "use publish() is found by it.",
    )
    listen: bool = Field(
        True,
        description="LISTEN/NOTIFY on PostgreSQL. Off behind PgBouncer in transaction mode: then the relay polls, and "
        "no statement is prepared, nor any of publish() on other engines; see docs/pgbouncer.md.",
    )
    shutdown_timeout: Duration = Field(
        timedelta(seconds=90),
        description="After SIGTERM a worker's running handlers may take this long; then they are handed back, the "
        "attempt not counted. Keep it below what kills the machine (Fly's `kill_timeout`).",
    )
    watchdog: Duration = Field(
        timedelta(seconds=60),
        description="A worker or relay that has hung this long ends itself, with exit code 70, to be started again.",
    )
    relay: Literal["worker", "off"] = Field(
        "worker", description="`worker`: every worker relays. `off`: `events relay` does it alone."
    )
    relay_batch: int = Field(500, ge=1, le=10_000, description="Events or deliveries that the relay moves at once.")
    max_in_flight: int = Field(
        1000, ge=1, description="Deliveries of one queue that are on the broker or running; the rest waits in SQL."
    )
    rabbitmq_queue_type: Literal["quorum", "classic"] = Field("quorum", description="Type of the queues on RabbitMQ.")
    broker_timeout: Duration = Field(
        timedelta(seconds=5), description="A broker that is silent this long while we send is taken for lost."
    )
    marked_by_others: Literal["handle", "leave"] = Field(
        "handle",
        description="Events that another program marks as `processed`: `handle` runs their handlers all the same, "
        "`leave` leaves them to it; see docs/migrating.md.",
    )
    edit: bool = Field(
        False, description="Whether `events dead edit` may correct the data of a dead letter and run it again."
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="Of workers and `events relay`. `json`: one object a line, which names the delivery.",
    )
    bridges: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Other services: URLs, separated by commas or spaces; see docs/bridges/index.md.",
        repr=False,
    )
    forward: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Event types that bridges forward, separated by commas; `*` for all. Empty: integration events.",
    )
    source: str = Field(
        "/events",
        description="The CloudEvents `source`, a URI or path. Once set, our own events that come back are left out.",
    )
    pool_size: int = Field(
        5,
        ge=1,
        description="Database connections that one process keeps open for handlers and publishers; on threads one a "
        "thread at least. More are opened in need: 20, or one more a thread.",
    )
    async_concurrency: int = Field(
        50,
        ge=1,
        le=1000,
        description="Deliveries of an `async def` handler that one process, on threads one thread, runs side by side. "
        "1: one by one.",
    )
    async_connections: int = Field(
        10,
        ge=1,
        le=1000,
        description="Database connections that the `async def` handlers of one process, on threads of one thread, have "
        "at a time: each from its first SQL to its commit. Others wait for one.",
    )
    async_driver: Literal["psycopg", "asyncpg"] = Field(
        "psycopg",
        description="Driver of PostgreSQL under AsyncSession and AsyncConnection. `asyncpg` has to be installed: "
        "`[asyncpg]`. SQLite has aiosqlite: `[aiosqlite]`.",
    )
    http_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which a worker, or `events relay`, serves `/metrics`, `/healthz` and `/readyz`. 0: none.",
    )

    @property
    def own_source(self) -> str:
        """`source` if it was set; "" for the default, which tells no application from another."""
        return self.source if self.source != type(self).model_fields["source"].default else ""

    @property
    def url_driver(self) -> str:
        """The driver of asyncio that the URL of the database names; "" if it names none."""
        driver = self.database_url.partition("://")[0].partition("+")[2]
        return driver if driver in ASYNC_DRIVERS else ""

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        return database_url(value)

    @field_validator("ledger_schema")
    @classmethod
    def _schema(cls, value: str) -> str:
        if value and (not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value) or value.startswith("pg_")):
            raise ValueError("use a name of lower-case letters, digits and _, such as events")
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: str) -> str:
        return broker_url(value)

    @field_validator("handlers", mode="before")
    @classmethod
    def _modules(cls, value: Any) -> Any:
        names = _names(value)
        if not names or not all(re.fullmatch(r"\w+(\.\w+)*", str(name)) for name in names):
            raise ValueError("use names of modules, separated by commas, such as shop.handlers,billing")
        return names

    @field_validator("bridges", mode="before")
    @classmethod
    def _urls(cls, value: Any) -> Any:
        # A comma within a URL, as in `forward=A,B`, is followed by no scheme.
        urls = re.split(r"[\s,]+(?=[A-Za-z][\w+.-]*://)", value.strip(" \t\r\n,")) if isinstance(value, str) else value
        urls = tuple(url for url in urls if url)
        if not all(re.match(r"[A-Za-z][\w+.-]*://[^/?#\s]\S*$", url) for url in urls):
            raise ValueError("use URLs such as redis+streams://host:6379/0, separated by commas or spaces")
        return urls

    @field_validator("forward", mode="before")
    @classmethod
    def _event_types(cls, value: Any) -> Any:
        names = _names(value)
        if any(re.search(r"\s", str(name)) for name in names):
            raise ValueError("use names of events, separated by commas, or *")
        return names

    @field_validator("source")
    @classmethod
    def _uri(cls, value: str) -> str:
        if not re.fullmatch(r"[!-~]+", value):
            raise ValueError("use a URI or a path without spaces, such as /shop")
        return value

    @field_validator("queue")
    @classmethod
    def _queue_name(cls, value: str) -> str:
        if not re.fullmatch(r"[\w.-]{1,100}(?<!\.dead)", value):
            raise ValueError("use 1 to 100 letters, digits, '.', '_' or '-', which don't end in .dead")
        return value

    @field_validator(*LEAST)
    @classmethod
    def _long_enough(cls, value: timedelta, info: ValidationInfo) -> timedelta:
        least, why = LEAST[str(info.field_name)]
        if value < least:
            raise ValueError(f"use at least {least.total_seconds():g}s, or {why}")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if broken := broken_rules(self):
            raise ValueError("; ".join(broken))
        return self
