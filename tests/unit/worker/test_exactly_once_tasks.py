"""Tasks whose effects are committed together with their outcome, and single tasks of an app that are transactional."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, Task, shared_task
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from events import (
    ConfigurationError,
    DefinitionError,
    Delivery,
    PublishError,
    Retry,
    TransactionalTask,
    get_engine,
    install,
    outbox,
    transactional,
)
from events.testing import InlinePipeline
from events.worker.celery_app import LedgerApp
from support.plain import Shop, shop_of


@pytest.fixture
def shop(events_pipeline: InlinePipeline) -> Iterator[Shop]:
    with get_engine().begin() as connection:
        connection.execute(text("CREATE TABLE charges (number INTEGER)"))
    with shop_of() as shop:
        yield shop


def charges() -> list[int]:
    with get_engine().connect() as connection:
        return [row[0] for row in connection.execute(text("SELECT number FROM charges ORDER BY number"))]


CHARGE = text("INSERT INTO charges VALUES (:number)")


def test_its_effects_and_its_outcome_are_one_commit(shop: Shop, events_pipeline: InlinePipeline) -> None:
    tries: list[int] = []

    @transactional(shop.app, exactly_once=True, retry=Retry(max_attempts=3), name=f"charge-{shop.name}")
    def charge(number: int, session: Session, delivery: Delivery, *, note: str = "") -> None:
        session.execute(CHARGE, {"number": number})
        tries.append(delivery.attempt)
        if len(tries) < 3:
            raise ValueError(note)

    # When it is sent in a transaction that commits, and in one that doesn't
    with Session(get_engine()) as session, session.begin():
        result = charge.delay(1, note="not yet")
    with Session(get_engine()) as session, session.begin():
        charge.delay(2)
        session.rollback()
    events_pipeline.run()
    # Then what its third attempt wrote is there, and nothing else
    assert charges() == [1]
    assert tries == [1, 2, 3]
    assert result.get() is None  # it has none, and nobody waits for it
    # And no message was sent
    assert shop.sent() == []


def test_outside_of_a_transaction_it_is_stored_at_once(shop: Shop, events_pipeline: InlinePipeline) -> None:
    @transactional(shop.app, exactly_once=True, name=f"charge-{shop.name}")
    def charge(number: int, connection: Connection) -> None:
        connection.execute(CHARGE, {"number": number})

    @transactional(shop.app, exactly_once=True, name=f"charge-async-{shop.name}")
    async def charge_async(number: int, session: AsyncSession) -> None:
        await session.execute(CHARGE, {"number": number})

    charge.delay(1)
    charge.s(2).apply_async(task_id="mine")
    shop.app.send_task(f"charge-{shop.name}", (3,))
    charge_async.apply_async(kwargs={"number": 4})
    events_pipeline.run()
    assert charges() == [1, 2, 3, 4]


def test_it_can_be_called_as_a_function(shop: Shop) -> None:
    @transactional(shop.app, exactly_once=True, name=f"charge-{shop.name}")
    def charge(number: int, connection: Connection) -> int:
        connection.execute(CHARGE, {"number": number})
        return number

    with get_engine().begin() as connection:
        assert charge(5, connection=connection) == 5
    assert charges() == [5]


def test_a_message_from_elsewhere_is_stored_once(shop: Shop, events_pipeline: InlinePipeline) -> None:
    @transactional(shop.app, exactly_once=True, name=f"charge-{shop.name}")
    def charge(number: int, connection: Connection) -> None:
        connection.execute(CHARGE, {"number": number})

    # When Celery runs a message of a program without the outbox, twice
    from celery.app.trace import trace_task

    for _ in range(2):
        trace_task(charge, "an-id", [7], {}, {"id": "an-id", "is_eager": False}, app=shop.app)
    events_pipeline.run()
    assert charges() == [7]


@pytest.mark.parametrize("option", ["countdown", "eta", "expires", "link", "link_error", "queue", "priority"])
def test_what_can_not_be_kept_is_refused(option: str, shop: Shop) -> None:
    @transactional(shop.app, exactly_once=True, name=f"charge-{shop.name}")
    def charge(number: int) -> None: ...

    with pytest.raises(PublishError, match=rf"is exactly_once=True, so it is no Celery message, and {option} can't"):
        charge.apply_async((1,), **{option: charge.s(1) if "link" in option else 5})
    with pytest.raises(PublishError, match="and chain can't be kept"):
        (charge.si(1) | charge.si(2)).delay()
    with pytest.raises(TypeError):
        charge.delay()
    with pytest.raises(PublishError, match="argument 1, a set, is no JSON"):
        charge.delay({1})


def test_what_can_be_no_such_task_is_refused(shop: Shop) -> None:
    with pytest.raises(DefinitionError, match="bind=True gives it the task"):
        transactional(shop.app, exactly_once=True, bind=True)(lambda self: None)
    with pytest.raises(DefinitionError, match=r"retry=\.\.\. is for exactly_once=True"):
        transactional(shop.app, retry=Retry())
    with pytest.raises(DefinitionError, match="takes the Celery app, in parentheses"):
        transactional(lambda: None)  # type: ignore[arg-type]

    def both(session: Session, other: AsyncSession) -> None: ...

    with pytest.raises(DefinitionError, match="exactly-once task 'both"):
        transactional(shop.app, exactly_once=True, name=f"both-{shop.name}")(both)


def test_single_tasks_of_an_app_may_be_transactional(events_pipeline: InlinePipeline) -> None:
    with shop_of(has_outbox=False) as shop:
        # Given an app without an outbox, with tasks of its own class
        class Counted(Task):  # type: ignore[misc]
            abstract = True

        @transactional(shop.app, base=Counted, name="one", shared=False)
        def one(what: str) -> None: ...

        @shared_task(base=TransactionalTask, name=f"two-{shop.name}", shared=False)
        def two(what: str) -> None: ...

        @shop.app.task(base=TransactionalTask, name="three", shared=False)
        def three(what: str) -> None: ...

        assert isinstance(shop.app.tasks["one"], Counted)
        # When they are sent in a transaction, Then only those are a part of it
        with Session(get_engine()) as session, session.begin():
            one.delay("one")
            three.delay("three")
            shop.app.send_task("one", ("by name",))
            shop.ship.delay("at once")
            assert shop.sent() == ["at once"]
        assert shop.come_to(events_pipeline) == {"one": 1, "three": 1, "by name": 1}


def test_outboxes_that_can_not_be(events_pipeline: InlinePipeline) -> None:
    with pytest.raises(
        ConfigurationError, match=r"events.outbox\(\) at .*test_exactly_once_tasks.py:\d+ takes the Cel"
    ):
        outbox("shop")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"the app has no name.*Celery\('shop'\)"):
        outbox(Celery(set_as_current=False))
    name = f"shop-{uuid4().hex}"
    app = Celery(name, set_as_current=False)
    outbox(app)
    with pytest.raises(ConfigurationError, match=r"has an outbox by .*; remove one of the two calls"):
        outbox(app)
    with pytest.raises(ConfigurationError, match=r"another Celery app of the name .* give one of them a name"):
        outbox(Celery(name, set_as_current=False))
    with pytest.raises(ConfigurationError, match="sessions= takes a sessionmaker"):
        outbox(Celery(f"{name}-2", set_as_current=False), sessions="db")


def test_the_ledgers_own_app_has_none() -> None:
    app: Any = LedgerApp.__new__(LedgerApp)
    with pytest.raises(ConfigurationError, match="take the application's own Celery app"):
        outbox(app)


def test_install_and_outbox_come_in_any_order(events_pipeline: InlinePipeline) -> None:
    for first, second in ((install, outbox), (outbox, install)):
        app = Celery(f"shop-{uuid4().hex}", set_as_current=False)
        first(app)
        second(app)
        assert re.fullmatch("send_task", app.send_task.__name__)
