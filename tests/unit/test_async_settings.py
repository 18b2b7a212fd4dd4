"""What doesn't go together with async handlers: one line at the start of a worker, with the cure."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from events import DomainEvent, handles, seconds
from events.diagnosis import database
from events.diagnosis.workers import importable
from events.errors import ConfigurationError
from events.handling import registry
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store.awaited import engines
from events.worker.tasks import delivery_task
from support.store import Store


class Waits(DomainEvent):
    pass


async def awaits(event: Waits, session: AsyncSession) -> None: ...
async def awaits_nothing(event: Waits) -> None: ...
def plain(event: Waits, connection: Connection) -> None: ...
def without_sql(event: Waits) -> None: ...
async def blocks(event: Waits, session: Session) -> None: ...


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_handlers", {})


@pytest.fixture
def pipelines() -> Iterator[Any]:
    made: list[Pipeline] = []

    def make(url: str, **settings: Any) -> Pipeline:
        made.append(Pipeline(Settings(database_url=url, broker_url="", **settings)))
        return made[-1]

    yield make
    for pipeline in made:
        pipeline.close()


@pytest.mark.parametrize("handler", [plain, blocks])
@pytest.mark.parametrize(
    ("url", "cure"),
    [
        (
            "postgresql+asyncpg://u:secret@h/shop",
            "write postgresql://... and EVENTS_ASYNC_DRIVER=asyncpg, which",
        ),
        ("sqlite+aiosqlite:///shop.db", "write sqlite:///..., which"),
    ],
)
def test_an_async_driver_with_blocking_sql_is_refused(pipelines: Any, url: str, cure: str, handler: Any) -> None:
    handles(Waits)(handler)
    pipeline = pipelines(url)
    with pytest.raises(ConfigurationError) as caught:
        pipeline.check_async()
    says = str(caught.value)
    assert f"handler {handler.__name__!r}" in says
    assert cure in says
    assert "\n" not in says
    assert "secret" not in says
    # And so says `events doctor`
    (finding,) = importable(pipeline)
    assert f"{finding.found}; {finding.cure}".startswith(says)


@pytest.mark.parametrize("url", ["postgresql+asyncpg://h/shop", "sqlite+aiosqlite:///shop.db", "postgresql://h/shop"])
def test_an_async_driver_serves_async_handlers_and_those_without_sql(pipelines: Any, url: str) -> None:
    for handler in (awaits, awaits_nothing, without_sql):
        handles(Waits)(handler)
    pipelines(url).check_async()


def test_the_ledger_itself_keeps_its_driver(pipelines: Any) -> None:
    pipeline = pipelines("postgresql+asyncpg://h/shop")
    assert pipeline.ledger.engine.dialect.driver == "psycopg"
    assert engines.driver_of(pipeline.settings) == "asyncpg"
    assert engines.driver_of(Settings(database_url="postgresql://h/shop", async_driver="asyncpg")) == "asyncpg"
    assert engines.driver_of(Settings(database_url="postgres://h/shop")) == "psycopg"
    assert engines.driver_of(Settings(database_url="sqlite:///a.db", async_driver="asyncpg")) == "aiosqlite"


@pytest.mark.parametrize(
    ("missing", "settings", "cure"),
    [
        ("asyncpg", {"async_driver": "asyncpg"}, "pip install 'celery-domain-events[asyncpg]'"),
        ("greenlet", {}, "pip install 'celery-domain-events[asyncio]'"),
    ],
)
def test_what_is_not_installed_is_named_only_if_somebody_needs_it(
    pipelines: Any, monkeypatch: pytest.MonkeyPatch, missing: str, settings: dict[str, str], cure: str
) -> None:
    pipeline = pipelines("postgresql://h/shop", **settings)
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == missing else object())
    handles(Waits)(awaits_nothing)
    pipeline.check_async()
    handles(Waits)(awaits)
    with pytest.raises(ConfigurationError, match=f"need {missing}, which is not installed: ") as caught:
        pipeline.check_async()
    assert str(caught.value).endswith(cure)


@pytest.mark.parametrize(
    ("at_once", "options", "limits", "batch", "most"),
    [
        (50, {}, (23.0, 33.0), True, 50),  # the last begins when the first is at its limit
        (50, {"group": False}, (12.0, 22.0), False, 1),
        (1, {}, (10.0, 20.0), False, 50),  # as plain handlers
    ],
)
def test_a_message_has_the_time_of_all_that_run_in_it(
    pipelines: Any, at_once: int, options: dict[str, Any], limits: tuple[float, float], batch: bool, most: int
) -> None:
    handles(Waits, time_limit=seconds(10), **options)(awaits_nothing)
    pipeline = pipelines("sqlite:///shop.db", async_concurrency=at_once)
    task = delivery_task(registry.handler_named("awaits_nothing"), pipeline)
    assert (task.soft_time_limit, task.time_limit) == limits
    (subscription,) = pipeline.subscriptions()
    assert (subscription.batch, subscription.most) == (batch, most)


def test_doctor_counts_the_connections_of_async_handlers(pipelines: Any) -> None:
    handles(Waits)(awaits)
    handles(Waits)(awaits_nothing)
    pipeline = pipelines("postgresql://h/shop", async_connections=7)
    with_sql = Store.worker("w1", {"awaits": {"Waits": "1:a"}})
    without = Store.worker("w2", {"awaits_nothing": {"Waits": "1:a"}})
    assert [database._awaited(pipeline, worker) for worker in (with_sql, without)] == [14, 0]
