"""Applications that send plain tasks in random ways: each is sent if, and only if, the row beside it is there.

With a broker the messages in it are counted; without one, what the tasks did.
"""

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from celery import chain, chord, group
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from machines.test_random_publishing import migrated, own_copy
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransactionOrigin

from events import PublishError, transaction
from events.current_pipeline import use_pipeline
from events.settings.settings import Settings
from events.testing import InlinePipeline
from support.exploring import SECONDS, explore_machine, long_enough
from support.plain import Shop
from support.publishers import Row, empty_tables
from support.servers import server_url

__all__ = ["migrated"]

BEGIN = SessionTransactionOrigin.BEGIN
SENT = {"delay": 1, "chain": 1, "group": 2, "chord": 2}  # messages of each way to send
DONE = {"delay": 1, "chain": 2, "group": 2, "chord": 2}  # runs, where nobody but we sends what follows


class PlainTasks(RuleBasedStateMachine):
    """One Session, used in any order; `broker` is the name of a server, or none."""

    url = ""
    broker = ""

    @initialize()
    def start(self) -> None:
        self.pipeline = InlinePipeline(Settings(database_url=own_copy(self.url), broker_url=""))
        use_pipeline(self.pipeline)
        empty_tables(self.pipeline)
        self.shop = Shop(server_url(self.broker) if self.broker else "")
        self.numbers = count(1)
        self.sent: dict[int, str] = {}
        self.told: set[int] = set()  # an error said that it was not written, or not sent
        self.savepoints: list[Any] = []
        self.session = Session(self.pipeline.ledger.engine, expire_on_commit=False)

    def swallowing(self, action: Callable[[], object]) -> bool:
        """Do it, and go on whatever happens; whether it went well."""
        try:
            action()
        except (SQLAlchemyError, PublishError, self.session.get_bind().dialect.loaded_dbapi.Error):  # type: ignore[union-attr]
            return False
        return True

    def send(self, how: str, number: int, **options: Any) -> None:
        self.sent[number] = how
        parts = [self.shop.ship.si(f"{number}/{part}") for part in range(2)]
        if how == "delay":
            parts[0].apply_async(**options)
        elif how == "chain":
            chain(*parts).apply_async(**options)
        elif how == "group":
            group(parts).apply_async(**options)
        else:
            chord(parts, self.shop.total.s()).apply_async(**options)

    @precondition(lambda self: not self.session.in_transaction())
    @rule()
    def begin(self) -> None:
        self.session.begin()

    @rule(
        how=st.sampled_from(sorted(SENT)),
        written=st.sampled_from(["later", "flushed", "text"]),
        named=st.booleans(),
        task_first=st.booleans(),
    )
    def send_beside_a_row(self, how: str, written: str, named: bool, task_first: bool) -> None:
        number = next(self.numbers)

        def write() -> None:
            if written == "text":
                self.session.execute(text(f"INSERT INTO rows VALUES ({number})"))
            else:
                self.session.add(Row(number=number))
            if written == "flushed":
                self.session.flush()

        def send() -> None:
            if named:
                with transaction(self.session):
                    self.send(how, number)
            else:
                self.send(how, number)

        # A transaction that was not begun, and in which nothing is written yet, is none that a task could join.
        root = self.session.get_transaction()
        begun = root is not None and (root.origin is BEGIN or self.session.in_nested_transaction())
        task_first = task_first and (named or begun)
        if not all(self.swallowing(action) for action in ([send, write] if task_first else [write, send])):
            self.told.add(number)

    @rule(how=st.sampled_from(sorted(SENT)))
    def send_in_a_transaction_of_its_own(self, how: str) -> None:
        """With another session that is in a transaction it has to be said which is meant."""
        if self.session.in_transaction():
            return  # on SQLite there is one writer
        number = next(self.numbers)
        with Session(self.pipeline.ledger.engine) as session, session.begin():
            session.add(Row(number=number))
            self.send(how, number)

    @rule()
    def begin_savepoint(self) -> None:
        self.swallowing(lambda: self.savepoints.append(self.session.begin_nested()))

    @rule(end=st.sampled_from(["commit", "rollback"]), outer=st.booleans())
    def end_savepoint(self, end: str, outer: bool) -> None:
        if not self.savepoints:
            return
        place = -2 if outer and len(self.savepoints) > 1 else -1
        savepoint = self.savepoints[place]
        del self.savepoints[place:]
        self.swallowing(getattr(savepoint, end))

    @rule()
    def insert_unless_it_is_there(self) -> None:
        number = next(self.numbers)
        self.told.add(number)  # of no row

        def insert() -> None:
            with self.session.begin_nested():
                self.send("delay", number)
                self.told.discard(number)
                self.session.execute(text("INSERT INTO rows VALUES (-1)"))
                self.session.execute(text("INSERT INTO rows VALUES (-1)"))

        self.swallowing(insert)

    @rule(end=st.sampled_from(["commit", "commit", "rollback", "close"]))
    def end_transaction(self, end: str) -> None:
        self.savepoints.clear()
        if not self.swallowing(getattr(self.session, end)):
            self.swallowing(self.session.rollback)

    @rule()
    def fail(self) -> None:
        self.swallowing(lambda: self.session.execute(text("SELECT nonsense")))

    @precondition(lambda self: not self.url.startswith("sqlite"))
    @rule()
    def cut_connection(self) -> None:
        backend: list[Any] = []
        ask = text("SELECT pg_backend_pid()")
        self.swallowing(lambda: backend.append(self.session.execute(ask).scalar()))
        if backend:
            with self.pipeline.ledger.engine.begin() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend[0]})

    def leave_session(self) -> None:
        self.savepoints.clear()
        if not self.swallowing(self.session.close):
            self.session.invalidate()  # its connection was cut in a savepoint: it would be in a transaction for ever

    @rule()
    def start_anew(self) -> None:
        self.leave_session()
        self.session = Session(self.pipeline.ledger.engine, expire_on_commit=False)

    def teardown(self) -> None:
        if not hasattr(self, "shop"):
            return
        try:
            self.leave_session()
            came = Counter(one for one in self.shop.come_to(self.pipeline).elements() if "/" in one)
            with self.pipeline.ledger.engine.connect() as connection:
                rows = {row[0] for row in connection.execute(text("SELECT number FROM rows"))}
            times = SENT if self.broker else DONE
            wanted = Counter(
                f"{number}/{part}" for number, how in self.sent.items() if number in rows for part in range(times[how])
            )
            doubtful = {f"{number}/{part}" for number in self.told for part in range(2)}
            for one in doubtful:
                came.pop(one, None)
                wanted.pop(one, None)
            assert came == wanted, f"not sent: {wanted - came}; sent in vain, or twice: {came - wanted}"
        finally:
            self.shop.close()
            use_pipeline(None)
            self.pipeline.close()


@long_enough
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # it warns of much that these applications do
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # connections that were cut
@pytest.mark.parametrize("broker", ["REDIS", "AMQP", ""])
def test_a_task_is_sent_if_and_only_if_its_row_is_there(broker: str, migrated: str) -> None:
    machine = type("PlainTasksOfThis", (PlainTasks,), {"url": migrated, "broker": broker})
    explore_machine(machine, examples=20 if SECONDS else 12)
