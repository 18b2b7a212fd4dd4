"""Sessions of other libraries' classes, such as SQLModel's, which warns of methods that it would rather not have."""

import warnings
from typing import Any

from sqlalchemy.orm import Session

from events import DomainEvent, get_engine, handles, publish
from events.ledger.outcome import Outcome
from events.store.tables import event_store
from events.testing import InlinePipeline


class NotedByModel(DomainEvent):
    pass


class ModelSession(Session):
    """As sqlmodel.Session is made: `exec` is its own, and what SQLAlchemy has for it is deprecated."""

    def exec(self, statement: Any, **options: Any) -> Any:
        return super().execute(statement, **options)

    def execute(self, *arguments: Any, **options: Any) -> Any:
        warnings.warn("use exec()", DeprecationWarning, stacklevel=2)
        return super().execute(*arguments, **options)

    def query(self, *arguments: Any, **options: Any) -> Any:
        warnings.warn("use exec()", DeprecationWarning, stacklevel=2)
        return super().query(*arguments, **options)


seen: list[type] = []


@handles(NotedByModel)
def note(event: NotedByModel, session: ModelSession) -> None:
    seen.extend(type(session).__mro__)
    session.exec(event_store.select())


def test_it_can_be_published_by_and_asked_for_and_nothing_of_ours_makes_it_warn(
    events_pipeline: InlinePipeline,
) -> None:
    # When it is given to publish(), and a handler asks for it
    with ModelSession(get_engine()) as session, session.begin():
        publish(NotedByModel(), session=session)
    ((_, result),) = events_pipeline.run()
    # Then both have gone well, without a warning, which would be an error here
    assert result.outcome is Outcome.SUCCEEDED
    assert ModelSession in seen
