"""An application that fails in its own code, and listens to what Celery says of that."""

import json
import os
from pathlib import Path
from typing import Any

from celery.signals import task_failure
from pydantic import Field

from events import DomainEvent, Retry, RetryAfter, handles, seconds

TWICE = Retry(max_attempts=2, backoff=seconds(0.05), jitter=0)


class Fed(DomainEvent):
    pass


class AskedLater(DomainEvent):
    pass


class CountedWell(DomainEvent):
    number: int = Field(default=0)


@handles(Fed, retry=TWICE)
def feeds(event: Fed) -> None:
    import nothing_of_this_name  # noqa: F401


@handles(AskedLater, retry=TWICE, group=False)
def asks_later(event: AskedLater) -> None:
    raise RetryAfter(0.05, "the shop is closed")


@handles(CountedWell)
def counts_well(event: CountedWell) -> None:
    pass


@task_failure.connect  # type: ignore[untyped-decorator]
def note(exception: BaseException, **_: Any) -> None:
    cause = exception.__cause__
    noted = {"is": type(exception).__name__, "by": type(cause).__name__, "text": str(cause)}
    with Path(os.environ["SHOP_STARTS"]).open("a") as file:
        file.write(json.dumps(noted) + "\n")
