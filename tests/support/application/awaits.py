"""Async handlers of the system under test. What they do is in their events."""

import asyncio
import os
import signal
import time
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from events import Delivery, DomainEvent, Retry, handles, seconds
from shop import QUICK, effects, started


class Awaited(DomainEvent):
    """Its handler waits for a file, if it is named, does what it is to do, and writes a row."""

    until: str = ""
    do: str = ""


@handles(Awaited, retry=QUICK, time_limit=seconds(90))
async def awaits(event: Awaited, session: AsyncSession, delivery: Delivery) -> None:
    await _await(event, session, delivery)


class AwaitedBriefly(Awaited):
    pass


@handles(AwaitedBriefly, retry=Retry(max_attempts=1), time_limit=seconds(1))
async def awaits_briefly(event: AwaitedBriefly, session: AsyncSession, delivery: Delivery) -> None:
    await _await(event, session, delivery)


async def _await(event: Awaited, session: AsyncSession, delivery: Delivery) -> None:
    started(delivery)
    try:
        while event.until and not Path(event.until).exists():
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        Path(f"{event.until}.cancelled.{event.event_id}").touch()
        raise
    match event.do:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "block":
            time.sleep(600)
        case "write and kill":
            await session.execute(insert(effects).values(event_id=str(event.event_id), handler=delivery.handler))
            os.kill(os.getpid(), signal.SIGKILL)
    await session.execute(insert(effects).values(event_id=str(event.event_id), handler=delivery.handler))
