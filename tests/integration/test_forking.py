"""Children forked while a thread of their parent uses SQLite: they work, whatever that thread was doing."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from events.settings.settings import Settings
from events.store.database.engine import make_engine
from support.waiting import eventually

FORKS = 12
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def use(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO things VALUES (1)"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = make_engine(Settings(database_url=f"sqlite:///{tmp_path / 'events.db'}"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE things (number INTEGER)"))
    yield engine
    engine.dispose()


@pytest.fixture
def busy(engine: Engine) -> Iterator[None]:
    """Threads that open and close connections, again and again."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            with engine.connect() as connection:
                connection.invalidate()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    stopping.set()
    for thread in threads:
        thread.join()


def exit_code_of(child: int) -> int:
    """Wait for its end. One that hangs is killed, and that is a failure."""

    def end() -> tuple[int, int] | None:
        ended = os.waitpid(child, os.WNOHANG)
        return ended if ended[0] else None

    try:
        return os.waitstatus_to_exitcode(eventually(end, "the child has ended")[1])
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


@pytest.mark.usefixtures("busy")
def test_a_child_can_use_the_database_whatever_its_parent_was_doing(engine: Engine) -> None:
    for _ in range(FORKS):
        # Given a child, forked while threads of this process open and close connections
        child = os.fork()
        if child == 0:  # no return from here: this is not the process of the tests
            try:
                use(engine)
                os._exit(0)
            finally:
                os._exit(1)
        # When it uses the database, then it comes to an end, and a good one
        assert exit_code_of(child) == 0


def test_a_connection_that_another_thread_took_first_is_counted_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a pool in which another thread takes the last place at the very moment: SQLAlchemy then asks once more
    engine.dispose()
    take = iter([False])
    really = engine.pool._inc_overflow  # type: ignore[attr-defined]
    monkeypatch.setattr(engine.pool, "_inc_overflow", lambda: next(take, None) is None and really())
    # When a thread gets a connection, and gives it back
    with engine.connect():
        pass
    assert list(take) == []
    # Then a fork waits for nobody
    assert engine.events_fork_safety._in_use == 0  # type: ignore[attr-defined]
