"""An application that reports to Sentry: to a file, instead of a server."""

import json
import os
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.transport import Transport

from events import DomainEvent, Retry, handles, seconds


class ToFile(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        if (event := envelope.get_event()) is not None:
            with Path(os.environ["SHOP_STARTS"]).open("a") as file:
                file.write(json.dumps(event, default=str) + "\n")


if "SHOP_STARTS" in os.environ:  # in a worker: Sentry changes what a process sends, and the tests' own sends for others
    sentry_sdk.init("http://key@127.0.0.1:1/1", transport=ToFile)


class Reported(DomainEvent):
    pass


@handles(Reported, retry=Retry(max_attempts=2, backoff=seconds(0.05), jitter=0))
def reports(event: Reported) -> None:
    raise LookupError("no such shelf")
