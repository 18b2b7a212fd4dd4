"""An application that logs: what its handlers say, print and raise."""

import logging
from uuid import uuid4

from events import DomainEvent, Retry, handles, seconds

log = logging.getLogger("chatty.handlers")


class Chatted(DomainEvent):
    fails: bool = False


@handles(Chatted, retry=Retry(max_attempts=2, backoff=seconds(0.05), jitter=0))
def chats(event: Chatted) -> None:
    log.info("two\nlines, to postgresql://ann:secret@host/shop", extra={"guests": 7, "odd": uuid4(), "level": "mine"})
    log.info("%d arguments", "no")
    print("printed")
    if event.fails:
        try:
            raise ValueError("no\nmore")
        except ValueError:
            log.exception("it went wrong")
            raise


@handles(Chatted)
async def chats_async(event: Chatted) -> None:
    log.warning("from a coroutine")
