"""A connection that was cut within savepoints: the session can be ended, and its next transaction is on another one."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from events.pipeline import Pipeline

ENDS: list[Callable[[Session], None]] = [Session.close, Session.rollback, Session.invalidate]


def cut(pipeline: Pipeline, session: Session) -> None:
    """Its server process ends."""
    backend = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with pipeline.ledger.engine.begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:backend)"), {"backend": backend})


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_a_session_can_be_ended(pipeline: Pipeline, end: Callable[[Session], None], depth: int) -> None:
    if pipeline.ledger.engine.dialect.name == "sqlite":
        pytest.skip("it has no server that could go away")
    # Given a session in savepoints, whose connection is cut
    session = Session(pipeline.ledger.engine)
    for _ in range(depth):
        session.begin_nested()
    cut(pipeline, session)
    # When it is ended, Then it is told once at most, as by SQLAlchemy alone
    for _ in range(depth):
        with suppress(OperationalError):
            end(session)
    session.close()
    assert not session.in_transaction()
    # And it goes on with another connection
    with session.begin():
        assert session.execute(text("SELECT 1")).scalar_one() == 1
    session.close()
