"""The baseline: the same handlers as plain Celery tasks, with late acknowledgement and no guarantee beyond that.

Stock settings otherwise, since they are what plain Celery is; each task opens and commits a transaction of its own.
"""

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from celery import Celery, Task
from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.orm import Session

from rigs.bench import records
from rigs.bench.models import Effect, names

app = Celery("plain", broker=os.environ.get("BENCH_BROKER_URL"))
app.config_from_object("celeryconfig")
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue=os.environ.get("EVENTS_QUEUE", "celery"),
    broker_connection_retry_on_startup=True,
)


@cache
def engine() -> Engine:
    """Made when the first task of a process needs it: no connection is there to be inherited."""
    return create_engine(os.environ["BENCH_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"))


def silent(_: Task, number: int, **__: Any) -> None:
    records.note(number)


def on_session(self: Task, number: int, **_: Any) -> None:
    with Session(engine()) as session, session.begin():
        session.add(Effect(handler=self.name, number=number))


def on_connection(self: Task, number: int, **_: Any) -> None:
    with engine().begin() as connection:
        connection.execute(insert(Effect), {"handler": self.name, "number": number})


_CALLS: dict[str, Callable[..., None]] = {
    "Silent": silent,
    "OnSession": on_session,
    "OnConnection": on_connection,
    "Timed": silent,
}
tasks: dict[str, list[Task]] = {
    kind: [app.task(name=name, bind=True)(call) for name in names(kind)] for kind, call in _CALLS.items()
}
