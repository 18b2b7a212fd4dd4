"""An application that reports to Sentry with our integration: to a file, instead of a server."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import sentry_sdk
from celery.signals import task_failure, task_retry
from sentry_sdk.transport import Transport
from sqlalchemy.ext.asyncio import AsyncSession

from events import DomainEvent, Retry, handles, seconds
from events.sentry import EventsIntegration

TWICE = Retry(max_attempts=2, backoff=seconds(0.05), jitter=0)
ONCE = Retry(max_attempts=1)


class ToFile(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        if (event := envelope.get_event()) is not None:
            with Path(os.environ["SHOP_STARTS"]).open("a") as file:
                file.write(json.dumps(event, default=str) + "\n")


if "SHOP_STARTS" in os.environ:  # in a worker: Sentry changes what a process sends, and the tests' own sends for others
    sentry_sdk.init(
        "http://key@127.0.0.1:1/1",
        transport=ToFile,
        integrations=[EventsIntegration(retries="SHOP_REPORTS_RETRIES" in os.environ)],
    )


class ShelvedAlone(DomainEvent):
    shelf: int


class ShelvedInBatch(DomainEvent):
    shelf: int


class ShelvedAside(DomainEvent):
    shelf: int


class ShelvedForLast(DomainEvent):
    pass


@handles(ShelvedForLast, retry=ONCE)
def shelves_for_last(event: ShelvedForLast) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@handles(ShelvedAlone, retry=TWICE)
def shelves(event: ShelvedAlone) -> None:
    sentry_sdk.set_tag("shelf", event.shelf)
    sentry_sdk.add_breadcrumb(message=f"looked at {event.shelf}")
    raise LookupError(f"no shelf {event.shelf}")


@handles(ShelvedAside, retry=ONCE)
async def shelves_aside(event: ShelvedAside, session: AsyncSession) -> None:
    sentry_sdk.set_tag("shelf", event.shelf)
    if event.shelf % 2:
        raise LookupError(f"no shelf {event.shelf}")


@handles(ShelvedInBatch, retry=ONCE, batch=10)
def shelves_in_batches(events: list[ShelvedInBatch]) -> None:
    sentry_sdk.set_tag("shelf", events[0].shelf)
    raise LookupError(f"no shelf {events[0].shelf}")


def note_signal(name: str, error: BaseException) -> None:
    with Path(f"{os.environ['SHOP_STARTS']}.signals").open("a") as file:
        cause = error.__cause__
        file.write(f"{name} {type(error).__name__} {type(cause).__name__} {cause}\n")


@task_retry.connect  # type: ignore[untyped-decorator]
def note_retry(reason: Any, **_: Any) -> None:
    note_signal("retry", reason.exc)


@task_failure.connect  # type: ignore[untyped-decorator]
def note_failure(exception: BaseException, **_: Any) -> None:
    note_signal("failure", exception)
