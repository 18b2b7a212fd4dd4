"""Plain tasks, each run of which is a line in the file $DEPOT_NOTES; and a handler that sends some."""

import os
from pathlib import Path
from typing import Any

from celery import chain, chord, group, shared_task
from sqlalchemy.orm import Session

from depot.celery import app
from events import DomainEvent, Retry, handles


def note(line: str) -> None:
    with Path(os.environ["DEPOT_NOTES"]).open("a") as file:
        file.write(f"{line}\n")


@app.task(bind=True)
def ship(self: Any, what: Any, **details: Any) -> Any:
    note(f"ship {what} {details or ''} id={self.request.id}")
    return what


@shared_task
def collect(parts: list[Any]) -> int:
    note(f"collect {sorted(parts)}")
    return len(parts)


@app.task(bind=True, max_retries=3)
def at_last(self: Any, succeeds_on: int) -> int:
    note(f"at_last {self.request.retries + 1}")
    if self.request.retries + 1 < succeeds_on:
        raise self.retry(countdown=0.1)
    return int(self.request.retries) + 1


@app.task
def breaks(why: str) -> None:
    note(f"breaks {why}")
    raise ValueError(why)


@app.task
def told_of(request: Any, error: Any, _: Any) -> None:
    note(f"told_of {error}")


class CrateMoved(DomainEvent):
    """`how`: what its handler does with the plain task."""

    crate: str
    how: str = "delay"


def send(how: str, what: str) -> Any:
    """Send plain tasks in one of the ways that Celery has."""
    if how == "chain":
        return chain(ship.si(f"{what}.1"), ship.si(f"{what}.2")).delay()
    if how == "group":
        return group(ship.s(f"{what}.{number}") for number in range(1, 4)).delay()
    if how == "chord":
        return chord([ship.s(f"{what}.{number}") for number in range(1, 4)], collect.s()).delay()
    return ship.delay(what)


@handles(CrateMoved, retry=Retry(max_attempts=1))
def move_crate(event: CrateMoved, session: Session) -> None:
    send(event.how.removesuffix(" and fail"), event.crate)
    if event.how.endswith("fail"):
        raise ValueError("no")
