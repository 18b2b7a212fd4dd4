"""Children forked while a thread of their parent uses SQLite: they work, whatever that thread was doing."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from events.errors import ForkedInTransaction
from events.settings.settings import Settings
from events.store.database import forking
from events.store.database.engine import make_engine
from support.forks import exit_code_of, fork

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


@pytest.mark.usefixtures("busy")
def test_a_child_can_use_the_database_whatever_its_parent_was_doing(engine: Engine) -> None:
    for _ in range(FORKS):
        # Given a child, forked while threads of this process open and close connections
        child = fork(lambda: use(engine))
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
    assert not forking._gate._in_use


def test_a_fork_waits_for_a_transaction_of_another_thread_however_long_it_takes(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a thread that is in a transaction, and goes on only when a fork has begun to wait for it
    begun, waiting = threading.Event(), threading.Event()
    elsewhere = make_engine(Settings(database_url=f"sqlite:///{tmp_path / 'other.db'}"))
    are_done = forking._gate._others_are_done

    def looks() -> bool:
        done = are_done()
        waiting.set()
        return done

    monkeypatch.setattr(forking._gate, "_others_are_done", looks)

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO things VALUES (2)"))
            begun.set()
            assert waiting.wait(30)
            with engine.connect() as another, elsewhere.connect() as third:  # which it may still take
                assert another.scalar(text("SELECT count(*) FROM things")) == 0
                assert third.scalar(text("SELECT 1")) == 1

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()

    # When this thread forks, then the child finds what the other has committed
    def find() -> None:
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM things")) == 1

    child = fork(find)
    thread.join()
    assert exit_code_of(child) == 0
    elsewhere.dispose()


def test_a_child_forked_within_a_transaction_may_not_use_the_file(engine: Engine) -> None:
    # Given a thread that forks within its own transaction, as a handler does that starts a process
    def refused() -> None:
        with pytest.raises(ForkedInTransaction, match=r'start the child with multiprocessing\.get_context\("spawn"\)'):
            use(engine)

    with engine.begin() as connection:
        connection.execute(text("INSERT INTO things VALUES (2)"))
        # When the child uses the database
        child = fork(refused)
        # Then it is told why it can't, and what to do
        assert exit_code_of(child) == 0
    # And the parent's transaction is stored, and its next one works
    use(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM things")) == 2


def test_a_connection_that_another_thread_returns_is_given_back(engine: Engine) -> None:
    # Given a connection that one thread takes
    connection = engine.connect()
    # When another gives it back
    thread = threading.Thread(target=connection.close)
    thread.start()
    thread.join()
    # Then a child may connect
    assert exit_code_of(fork(lambda: use(engine))) == 0
