"""What of nats-py we lean on beyond its documentation."""

import asyncio
import inspect
from unittest.mock import AsyncMock, Mock

import pytest
from nats.aio.client import Client
from nats.protocol import parser

from support.seam_checks import Library

NATS = Library("nats-py")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("_process_info", ["info", "initial_connection"]), ("_process_headers", ["headers"]), ("_process_pong", [])],
)
def test_the_client_has_these_methods(name: str, parameters: list[str]) -> None:
    leans = "events.bridges.nats.client, which overrides it"
    NATS.takes(Client, name, parameters, leans)
    assert inspect.iscoroutinefunction(getattr(Client, name)), NATS.moved(f"{name} is no coroutine", leans)
    calls = inspect.getsource(Client) + inspect.getsource(parser)
    NATS.keeps(f".{name}(" in calls, f"nats-py itself calls {name}", leans)
    connecting = inspect.getsource(Client._process_connect_init)
    looked, told = (connecting.index(call) for call in ("self._process_info(srv_info", "self._connect_command()"))
    NATS.keeps(looked < told, "what the server says of TLS is looked at before it is told the password", leans)


@pytest.mark.parametrize("dead", ["_reading_task", "_flusher_task"])
def test_flushing_asks_for_these_tasks(dead: str) -> None:
    leans = "flush(), which is an error where nobody could hear the answer"
    # Given a client whose reader, or writer, has ended
    client = Client()
    NATS.has(client, dead, leans)
    client._reading_task, client._flusher_task = Mock(done=lambda: False), Mock(done=lambda: False)
    setattr(client, dead, Mock(done=lambda: True))
    client._flush_pending = AsyncMock()
    # When it is flushed, then nats-py itself says nothing of that
    asyncio.run(client.flush())
    NATS.keeps(client._flush_pending.await_count == 1, f"flush() looks at {dead}", leans)
