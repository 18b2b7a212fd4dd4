"""From when on sessions publish what aggregates recorded, and in which order with an application's own listeners."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from events import AggregateRoot, DomainEvent, get_engine
from events.testing import InlinePipeline, migrated_file
from support.shelves import stored


class Swallows:
    """A base that doesn't hand on what every class should."""

    def __init_subclass__(cls, **_: object) -> None:
        pass

    def __init__(self, **_: object) -> None:
        pass


class BoxBase(DeclarativeBase):
    pass


class BoxChanged(DomainEvent):
    words: str


class Box(BoxBase, Swallows, AggregateRoot):
    __tablename__ = "boxes"
    name: Mapped[str] = mapped_column(String(10), primary_key=True)

    def __init__(self, name: str) -> None:
        self.name = name


def test_a_base_that_swallows_init_subclass_loses_no_event(events_pipeline: InlinePipeline) -> None:
    BoxBase.metadata.create_all(events_pipeline.ledger.engine)
    # Given an object that was recorded elsewhere, and came by pickle, so that record() isn't called here
    box = Box("a")
    box.record(BoxChanged(words="a"))
    arrived = pickle.loads(pickle.dumps(box))
    # When it is saved
    with Session(get_engine()) as session, session.begin():
        session.add(arrived)
    # Then its event is stored
    assert stored() == ["a"]


def test_a_class_of_aggregates_registers_nothing_more() -> None:
    # Given what listens to sessions, which another thread's commit may be going through
    def listening() -> dict[str, int]:
        return {name: len(list(getattr(Session.dispatch, name)._clslevel[Session])) for name in LISTENED}  # type: ignore[attr-defined]

    before, merge = listening(), Session._merge
    # When a class of aggregates is made, and one of them records
    made = type("Made", (AggregateRoot,), {})()
    made.record(BoxChanged(words="b"))
    # Then nothing has changed
    assert listening() == before
    assert Session._merge is merge


LISTENED = ("after_flush", "before_commit", "after_commit", "after_soft_rollback", "after_transaction_end")

PROGRAM = """
import sys
from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

seen = []
if "hook" == sys.argv[1]:  # an application whose own hook is registered first

    @event.listens_for(Session, "before_commit")
    def hook(session):
        session.flush()
        seen.append([one.recorded_events for one in session])

from events import AggregateRoot, DomainEvent, get_engine

if "hook" != sys.argv[1]:

    @event.listens_for(Session, "before_commit")
    def hook(session):
        session.flush()
        seen.append([one.recorded_events for one in session])

class Base(DeclarativeBase): pass
class Changed(DomainEvent): pass
class Thing(Base, AggregateRoot):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)

Base.metadata.create_all(get_engine())
with Session(get_engine()) as session, session.begin():
    session.add(thing := Thing(id=1))
    thing.record(Changed())
print(seen)
"""


@pytest.mark.parametrize("first", ["hook", "events"])
def test_a_listener_of_the_application_sees_aggregates_that_are_handed_over(first: str, tmp_path: Path) -> None:
    # Given an application that listens to commits, and registered that before it imported events, or after
    (tmp_path / "events.db").write_bytes(migrated_file())
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "EVENTS_DATABASE_URL": f"sqlite:///{tmp_path / 'events.db'}"}
    # When it saves an aggregate
    program = [sys.executable, tmp_path / "program.py", first]
    ended = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    # Then its listener finds nothing left to publish, in either order
    assert ended.stdout == "[[()]]\n"
