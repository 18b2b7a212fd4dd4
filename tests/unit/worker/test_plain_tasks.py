"""Which transaction a plain task belongs to, and what of it is stored: with a broker in this process's memory."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from celery import chain, chord, group, signals
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from events import DomainEvent, PublishError, Retry, get_engine, handles, publish, transaction
from events.testing import InlinePipeline
from support.plain import Shop, shop_of


class Crates(DeclarativeBase):
    pass


class Crate(Crates):
    __tablename__ = "plain_crates"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(default="")


@pytest.fixture
def shop(events_pipeline: InlinePipeline) -> Iterator[Shop]:
    with shop_of() as shop:
        yield shop


@pytest.fixture
def engine(events_pipeline: InlinePipeline) -> Engine:
    Crates.metadata.create_all(get_engine())
    return get_engine()


# When it is sent


def test_a_task_of_a_transaction_is_sent_once_that_has_committed(shop: Shop, events_pipeline: InlinePipeline) -> None:
    with Session(get_engine()) as session, session.begin():
        result = shop.ship.delay("a")
        assert shop.sent() == []
    events_pipeline.run()
    (message,) = shop.waiting()
    assert message.headers["id"] == message.properties["correlation_id"] == result.id
    assert message.headers["task"] == "ship"
    assert message.headers["argsrepr"] == "('a',)"
    assert message.decode() == [["a"], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


def test_a_task_of_a_transaction_that_is_rolled_back_is_not_sent(shop: Shop, events_pipeline: InlinePipeline) -> None:
    session = Session(get_engine())
    session.begin()
    shop.ship.delay("a")
    session.rollback()
    session.begin()
    shop.ship.delay("b")
    session.close()
    session.begin()
    shop.ship.delay("c")
    session.commit()
    assert shop.come_to(events_pipeline) == {"c": 1}


def test_savepoints_take_their_tasks_with_them(shop: Shop, events_pipeline: InlinePipeline) -> None:
    with Session(get_engine()) as session, session.begin():
        shop.ship.delay("before")
        with session.begin_nested():
            shop.ship.delay("kept")
            inner = session.begin_nested()
            shop.ship.delay("undone within")
            inner.rollback()
        outer = session.begin_nested()
        with session.begin_nested():
            shop.ship.delay("released, and undone by the one around")
        outer.rollback()
        shop.ship.delay("after")
    assert shop.come_to(events_pipeline) == {"before": 1, "kept": 1, "after": 1}


def test_outside_of_a_transaction_a_task_is_sent_at_once(shop: Shop) -> None:
    shop.ship.delay("a")
    assert shop.sent() == ["a"]


def test_a_session_that_only_looks_makes_no_transaction(
    shop: Shop, engine: Engine, events_pipeline: InlinePipeline
) -> None:
    # Given an application that commits, and sends a task for what it has written
    with Session(engine) as session:
        crate = Crate()
        session.add(crate)
        session.commit()
        # When it asks for the id, which begins another transaction, Then that is none
        shop.ship.delay(crate.id)
        assert shop.sent() == [1]
        assert session.execute(text("SELECT 1")).scalar() == 1
        shop.ship.delay("looked")
        assert shop.sent() == ["looked"]


@pytest.mark.parametrize("how", ["add", "flush", "change", "delete", "text", "core", "bulk"])
def test_a_session_that_has_changed_something_does(
    how: str, shop: Shop, engine: Engine, events_pipeline: InlinePipeline
) -> None:
    with Session(engine) as session:
        session.add(Crate(id=1))
        session.commit()
        crate = session.get_one(Crate, 1)
        if how == "add":
            session.add(Crate(id=2))
        elif how == "flush":
            session.add(Crate(id=2))
            session.flush()
        elif how == "change":
            crate.label = "changed"
        elif how == "delete":
            session.delete(crate)
        elif how == "text":
            session.execute(text("UPDATE plain_crates SET label = 'x'"))
        elif how == "core":
            session.execute(Crate.__table__.insert(), {"id": 3, "label": ""})
        elif how == "bulk":
            session.bulk_insert_mappings(Crate, [{"id": 4, "label": ""}])  # type: ignore[arg-type]
        shop.ship.delay("undone")
        session.rollback()
    assert shop.come_to(events_pipeline) == {}


def test_hooks_of_a_session_send_what_belongs_to_it(
    shop: Shop, engine: Engine, events_pipeline: InlinePipeline
) -> None:
    maker = sessionmaker(engine)
    for name in ("before_commit", "before_flush", "after_flush", "after_commit"):
        event.listen(maker, name, lambda *_, name=name: shop.ship.delay(name))
    with maker() as session:
        for name in ("before_commit", "after_flush"):
            event.listen(session, name, lambda *_, name=name: shop.ship.delay(f"{name} of one"))
        session.add(Crate())
        session.flush()
        shop.ship.delay("between")
        session.add(Crate())
        session.commit()
        # What is sent after the commit is sent at once
        assert shop.sent() == ["after_commit"]
    came = shop.come_to(events_pipeline)
    assert came == {
        "between": 1,
        "before_commit": 1,
        "before_commit of one": 1,
        "before_flush": 2,
        "after_flush": 2,
        "after_flush of one": 2,
    }


# Whose transaction it is


def test_a_handler_sends_with_its_own_outcome(shop: Shop, events_pipeline: InlinePipeline) -> None:
    class CrateCame(DomainEvent):
        fails: bool

    @handles(CrateCame, retry=Retry(max_attempts=1))
    def unload(event: CrateCame) -> None:
        shop.ship.delay(event.fails)
        assert not event.fails

    class CrateWent(DomainEvent):
        fails: bool

    @handles(CrateWent, retry=Retry(max_attempts=1))
    def load(event: CrateWent, session: Session) -> None:
        with session.begin_nested() as point:
            shop.ship.delay("undone")
            point.rollback()
        shop.ship.delay(event.fails)
        assert not event.fails

    publish([CrateCame(fails=True), CrateCame(fails=False), CrateWent(fails=True), CrateWent(fails=False)])
    assert shop.come_to(events_pipeline) == {False: 2}


@pytest.mark.parametrize("asks", ["nothing", "session", "connection"])
def test_a_handler_that_awaits_does_so_too(asks: str, shop: Shop, events_pipeline: InlinePipeline) -> None:
    from sqlalchemy.ext.asyncio import AsyncConnection

    came = {"nothing": "CrateAwaited", "session": "CrateAwaitedInSession", "connection": "CrateAwaitedOnConnection"}
    kind: Any = type(came[asks], (DomainEvent,), {"__annotations__": {"fails": bool}, "__module__": __name__})

    async def work(fails: bool) -> None:
        await asyncio.sleep(0)
        shop.ship.delay(fails)
        await asyncio.to_thread(shop.ship.delay, f"{fails} in a thread")
        assert not fails

    if asks == "nothing":

        async def await_crate(event: kind) -> None:
            await work(event.fails)

    elif asks == "session":

        async def await_crate(event: kind, session: AsyncSession) -> None:  # type: ignore[misc]
            async with session.begin_nested() as point:
                shop.ship.delay("undone")
                await point.rollback()
            await work(event.fails)

    else:

        async def await_crate(event: kind, connection: AsyncConnection) -> None:  # type: ignore[misc]
            async with connection.begin_nested():
                with pytest.raises(PublishError, match="run_sync"):
                    shop.ship.delay("undone")
            await work(event.fails)

    handles(kind, name=f"await_{asks}", retry=Retry(max_attempts=1))(await_crate)
    publish([kind(fails=True), kind(fails=False)])
    assert shop.come_to(events_pipeline) == {False: 1, "False in a thread": 1}


def test_a_transaction_may_be_named(shop: Shop, events_pipeline: InlinePipeline) -> None:
    with get_engine().connect() as connection:
        with transaction(connection):
            shop.ship.delay("undone")
            publish(Lifted(crate=1))
        connection.rollback()
        with transaction(connection):
            shop.ship.delay("by a block")
        shop.ship.apply_async(("by an argument",), session=connection)
        shop.ship.s("by a signature").apply_async(session=connection)
        connection.commit()
    with Session(get_engine()) as session:
        with transaction(session):  # which has begun nothing yet
            shop.ship.delay("by a session")
        session.commit()
    assert shop.come_to(events_pipeline) == {
        "by a block": 1,
        "by an argument": 1,
        "by a signature": 1,
        "by a session": 1,
    }


class Lifted(DomainEvent):
    crate: int


def test_two_open_transactions_are_refused(shop: Shop, events_pipeline: InlinePipeline) -> None:
    with Session(get_engine()) as one, one.begin(), Session(get_engine()) as other, other.begin():
        with pytest.raises(PublishError, match=r"2 sessions are in a transaction here \(a Session of sqlite"):
            shop.ship.delay("whose?")
        with transaction(one):
            shop.ship.delay("mine")
        other.rollback()
    assert shop.come_to(events_pipeline) == {"mine": 1}


def test_of_several_sessionmakers_one_may_count(events_pipeline: InlinePipeline, tmp_path: Path) -> None:
    elsewhere = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    mine = sessionmaker(get_engine())
    for sessions in (mine, scoped_session(mine), get_engine(), [mine, elsewhere], mine.class_):
        with shop_of(sessions=sessions) as shop, mine.begin(), Session(elsewhere) as other:
            other.connection()
            if sessions == [mine, elsewhere]:
                continue
            with other.begin() if not other.in_transaction() else other.begin_nested():
                shop.ship.delay("mine")
        if sessions != [mine, elsewhere]:
            assert shop.come_to(events_pipeline) == {"mine": 1}
    elsewhere.dispose()


def test_threads_have_transactions_of_their_own(shop: Shop, events_pipeline: InlinePipeline) -> None:
    with Session(get_engine()) as session, session.begin():
        thread = threading.Thread(target=shop.ship.delay, args=("by another thread",))
        thread.start()
        thread.join()
        assert shop.sent() == ["by another thread"]
        shop.ship.delay("by this one")
    assert shop.come_to(events_pipeline) == {"by this one": 1}


def test_tasks_of_asyncio_have_transactions_of_their_own(shop: Shop, events_pipeline: InlinePipeline) -> None:
    engine = create_async_engine(str(get_engine().url).replace("sqlite:", "sqlite+aiosqlite:"))
    maker = async_sessionmaker(engine)

    async def request(name: str, commits: bool) -> None:
        async with maker() as session:
            await session.begin()
            await asyncio.sleep(0)
            shop.ship.delay(name)
            async with session.begin_nested() as point:
                shop.ship.delay(f"{name}, undone")
                await point.rollback()
            async with session.begin_nested():
                shop.ship.delay(f"{name}, released")
            await asyncio.sleep(0)
            await session.run_sync(lambda _: shop.ship.delay(f"{name}, in a function"))
            await (session.commit() if commits else session.rollback())

    async def main() -> None:
        await asyncio.gather(request("a", True), request("b", False), request("c", True))
        shop.ship.delay("outside")
        assert shop.sent() == ["outside"]
        await engine.dispose()

    asyncio.run(main())
    assert shop.come_to(events_pipeline) == {
        f"{name}{what}": 1 for name in "ac" for what in ("", ", released", ", in a function")
    }


def test_more_than_are_held_are_written_meanwhile(shop: Shop, events_pipeline: InlinePipeline) -> None:
    with Session(get_engine()) as session, session.begin():
        for number in range(1200):
            shop.ship.delay(number)
        assert session.execute(text("SELECT count(*) FROM event_store")).scalar() == 1000
        session.rollback()
    with Session(get_engine()) as session, session.begin():
        for number in range(1200):
            shop.ship.delay(number)
    assert shop.come_to(events_pipeline) == dict.fromkeys(range(1200), 1)


# What is sent


def test_options_are_kept(shop: Shop, events_pipeline: InlinePipeline) -> None:
    eta = datetime.now(UTC) + timedelta(hours=1)
    with Session(get_engine()) as session, session.begin():
        shop.ship.apply_async(
            args=["a"],
            kwargs={"by": "lorry", "on": eta, "key": UUID(int=1)},
            task_id="my-id",
            eta=eta,
            expires=eta + timedelta(hours=1),
            priority=3,
            headers={"tenant": "acme"},
            link=shop.ship.s("then"),
            link_error=shop.ship.s("else"),
            shadow="shown so",
            time_limit=30,
            soft_time_limit=20,
            serializer="json",
            compression="zlib",
        )
    events_pipeline.run()
    (message,) = shop.waiting()
    headers = message.headers
    assert (headers["id"], headers["eta"], headers["tenant"]) == ("my-id", eta.isoformat(), "acme")
    assert (headers["shadow"], headers["timelimit"]) == ("shown so", [30, 20])
    assert headers["expires"] == (eta + timedelta(hours=1)).isoformat()
    assert message.properties["priority"] == 3
    assert headers["compression"] == "application/x-gzip"
    args, kwargs, embedded = message.decode()
    assert (args, kwargs) == (["a"], {"by": "lorry", "on": eta, "key": UUID(int=1)})
    assert embedded["callbacks"][0]["args"] == ["then"]
    assert embedded["errbacks"][0]["args"] == ["else"]


def test_what_json_knows_only_by_halves_comes_whole(shop: Shop, events_pipeline: InlinePipeline) -> None:
    given = ["NUL \0", "\ud800", 1e300, 10**30, float("inf"), {"__type__": "mine"}, b"\xff", -0.0, 1e20]
    with Session(get_engine()) as session, session.begin():
        shop.ship.delay(given)
    events_pipeline.run()
    ((args, _, _),) = [message.decode() for message in shop.waiting()]
    assert repr(args) == repr([given])


def test_canvases_are_kept_whole(shop: Shop, events_pipeline: InlinePipeline) -> None:
    for commits in (False, True):
        with Session(get_engine()) as session:
            session.begin()
            ids = [
                chain(shop.ship.si("1"), shop.ship.si("2")).delay().parent.id,
                *(one.id for one in group(shop.ship.s("3"), shop.ship.s("4")).delay()),
                *(one.id for one in chord([shop.ship.s("5"), shop.ship.s("6")], shop.total.s()).delay().parent),
            ]
            (session.commit if commits else session.rollback)()
        events_pipeline.run()
        sent = shop.waiting()
        assert {message.headers["id"] for message in sent} >= set(ids) if commits else not sent
    first = next(message for message in sent if message.headers["id"] == ids[0])
    assert first.decode()[2]["chain"][0]["args"] == ["2"]
    parts = [message for message in sent if message.headers["id"] in ids[3:]]
    assert {message.decode()[2]["chord"]["task"] for message in parts} == {"total"}


def test_signals_are_sent_when_they_are_true(shop: Shop, events_pipeline: InlinePipeline) -> None:
    heard: list[str] = []

    def before(sender: str, headers: dict[str, Any], **_: Any) -> None:
        heard.append(f"before {sender}")
        headers["request"] = "42"  # which is known only here

    def after(sender: str, headers: dict[str, Any], body: Any, **_: Any) -> None:
        heard.append(f"after {sender} {headers['request']} {body[0]}")

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        with Session(get_engine()) as session, session.begin():
            shop.ship.delay("a")
            assert heard == ["before ship"]
        events_pipeline.run()
        assert heard == ["before ship", "after ship 42 ['a']"]
        assert [message.headers["request"] for message in shop.waiting()] == ["42"]
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)


def test_a_task_that_is_sent_by_its_name_alone(shop: Shop, events_pipeline: InlinePipeline) -> None:
    with Session(get_engine()) as session, session.begin():
        shop.app.send_task("of.another.service", ["a"], queue=shop.name)
    events_pipeline.run()
    assert [message.headers["task"] for message in shop.waiting()] == ["of.another.service"]


# What is refused


class Thing:
    pass


REFUSED = [
    ((Thing(),), {}, "argument 1, a Thing, is no JSON"),
    (("a",), {"by": Thing()}, "argument 'by', a Thing, is no JSON"),
    (({1, 2},), {}, "argument 1, a set, is no JSON"),
]


@pytest.mark.parametrize(("args", "kwargs", "told"), REFUSED)
def test_an_argument_that_is_no_json(
    args: Any, kwargs: Any, told: str, shop: Shop, events_pipeline: InlinePipeline
) -> None:
    with Session(get_engine()) as session, session.begin():
        with pytest.raises(PublishError, match=f"^task ship in a transaction: {told}") as caught:
            shop.ship.delay(*args, **kwargs)
        assert "give what is, such as the id of a row" in str(caught.value)
        assert "\n" not in str(caught.value)
        shop.ship.delay("good")
    assert shop.come_to(events_pipeline) == {"good": 1}


@pytest.mark.parametrize("given", [(1, 2), {1: "a"}, [("a",)]])
def test_an_argument_that_json_would_change_for_another_serializer(
    given: Any, shop: Shop, events_pipeline: InlinePipeline
) -> None:
    with Session(get_engine()) as session, session.begin():
        with pytest.raises(PublishError, match="would come back from JSON"):
            shop.ship.apply_async((given,), serializer="pickle")
        shop.ship.apply_async(([1, {"a": 2.0}],), serializer="pickle")
    events_pipeline.run()
    (message,) = shop.waiting()
    assert message.content_type == "application/x-python-serialize"
    assert message.decode()[0] == [[1, {"a": 2.0}]]


def test_a_header_that_is_no_json(shop: Shop, events_pipeline: InlinePipeline) -> None:
    with Session(get_engine()) as session, session.begin(), pytest.raises(PublishError, match="its header 'tenant'"):
        shop.ship.apply_async(("a",), headers={"tenant": Thing()})


def test_wrong_arguments_are_refused_as_ever(shop: Shop) -> None:
    with Session(get_engine()) as session, session.begin(), pytest.raises(TypeError):
        shop.ship.delay()


def test_messages_that_are_alike_are_told_apart_by_all_that_differs(
    shop: Shop, events_pipeline: InlinePipeline
) -> None:
    def send() -> None:
        for number in (1, 2):
            shop.ship.delay(number)
            shop.ship.apply_async((number,), priority=number)
            shop.ship.apply_async((number,), {"by": 'a "lorry"'}, headers={"number": number})
            shop.ship.apply_async((number,), task_id=f'{number} "id"')
            shop.ship.apply_async((number,), countdown=3600 * number)
            shop.ship.apply_async((number,), shadow=f"shadow {number}")
            shop.total.delay([number])
        shop.app.conf.task_routes = {"ship": {"priority": 7}}
        shop.ship.delay(3)
        shop.app.conf.task_routes = None

    def there() -> list[Any]:
        found = []
        for message in shop.waiting():
            headers = dict(message.headers)
            task_id = headers.pop("id")
            assert headers.pop("root_id") == message.properties["correlation_id"] == task_id
            headers["eta"] = bool(headers["eta"])  # counted from the call
            properties = message.properties
            found.append((headers, message.decode(), properties["priority"], properties["reply_to"], '"' in task_id))
        return sorted(found, key=repr)

    # Given what plain Celery sends
    send()
    plain = there()
    assert len(plain) == 15
    # When the same is sent in transactions, Then the messages are the same
    for _ in range(2):
        with Session(get_engine()) as session, session.begin():
            send()
        events_pipeline.run()
        assert there() == plain


def test_sessions_without_a_bind_of_their_own_and_of_a_connection(shop: Shop, events_pipeline: InlinePipeline) -> None:
    # Given a class of sessions that finds its engine by itself, as that of Flask-SQLAlchemy does
    class Routed(Session):
        def get_bind(self, *_: Any, **__: Any) -> Engine:
            return get_engine()

    with Routed() as session, session.begin():
        for number in range(600):
            shop.ship.delay(number)
    # And one that only flushes, in a transaction which somebody else commits
    with get_engine().begin() as connection, Session(connection) as session:
        session.begin_nested()
        shop.ship.delay("flushed")
        session.flush()
        session.get_nested_transaction().commit()  # type: ignore[union-attr]
        with transaction(session):
            shop.ship.delay("of a connection")
        session.expunge_all()
        connection.execute(text("SELECT 1"))
        connection.commit()
    came = shop.come_to(events_pipeline)
    assert came == dict.fromkeys([*range(600), "flushed", "of a connection"], 1)
