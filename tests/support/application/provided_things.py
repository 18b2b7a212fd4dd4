"""An application whose handlers ask for things that live as long as their process, and note what becomes of those."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from events import DomainEvent, handles, provides


def note(*words: object) -> None:
    with Path(os.environ["SHOP_STARTS"]).open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


class Pool:
    pass


class Client:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()


class Api:
    def __init__(self, client: Client, pool: Pool) -> None:
        self.client = client


@provides(once="process")
def pool() -> Iterator[Pool]:
    note("opened", "pool", os.getpid(), 0)
    yield Pool()
    note("closed", "pool", os.getpid(), 0)


@provides(once="process")
async def client(pool: Pool) -> AsyncIterator[Client]:
    client = Client()
    note("opened", "client", os.getpid(), id(client.loop))
    yield client
    await asyncio.sleep(0.01)
    assert asyncio.get_running_loop() is client.loop
    note("closed", "client", os.getpid(), id(client.loop))


provides(Api)


class Called(DomainEvent):
    pass


class CalledPlainly(DomainEvent):
    pass


@handles(Called)
async def calls(event: Called, api: Api, session: AsyncSession) -> None:
    assert asyncio.get_running_loop() is api.client.loop
    await asyncio.sleep(0.01)
    note("ran", "calls", os.getpid(), threading.get_ident())


@handles(CalledPlainly)
def calls_plainly(event: CalledPlainly, pool: Pool) -> None:
    note("ran", "plainly", os.getpid(), threading.get_ident())
