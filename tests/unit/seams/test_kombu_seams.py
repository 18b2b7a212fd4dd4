"""What of kombu we lean on: its virtual transport, of which ours is made, and how its Redis transport does things."""

from unittest.mock import Mock

import kombu
import pytest
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.transport.redis import Channel

from events.transport import redis as ours
from events.transport.message import GARBAGE
from support.seam_checks import Library

KOMBU = Library("kombu")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_put", ["queue", "message"]),
        ("_get", ["queue", "timeout"]),
        ("_size", ["queue"]),
        ("_purge", ["queue"]),
        ("_new_queue", ["queue", "kwargs"]),
        ("_has_queue", ["queue", "kwargs"]),
        ("_delete", ["queue", "args", "kwargs"]),
    ],
)
def test_a_virtual_channel_is_made_of_these_methods(name: str, parameters: list[str]) -> None:
    KOMBU.takes(virtual.Channel, name, parameters, "the transport of workers without a broker (ledger://)")


def test_a_virtual_channel_knows_which_queues_are_consumed() -> None:
    leans = "the transport of workers without a broker, which asks for messages only while there are some"
    KOMBU.says(virtual.Channel, "self._active_queues.append(queue)", "self._active_queues.remove(queue)", leans=leans)


def test_a_channel_of_redis_makes_its_clients_by_one_method() -> None:
    leans = "one client for all acknowledgements, and answers to BRPOP that are read with care"
    KOMBU.takes(Channel, "_create_client", ["asynchronous"], leans)
    KOMBU.says(Channel, "self._create_client(asynchronous=True)", leans=leans)
    KOMBU.says(Channel.conn_or_acquire, "yield self._create_client()", leans=leans)
    answer = "self.client.parse_response(self.client.connection, 'BRPOP', **options)"
    KOMBU.says(Channel._brpop_read, answer, "dest, item = dest__item", leans=leans)


def test_a_channel_of_redis_makes_its_pool_by_one_method() -> None:
    leans = "an acknowledgement on a connection that is gone, which is a connection error"
    KOMBU.takes(Channel, "_get_pool", ["asynchronous"], leans)
    KOMBU.says(Channel.pool.fget, "if self._pool is None: self._pool = self._get_pool()", leans=leans)


def test_a_channel_of_redis_asks_by_one_method() -> None:
    leans = "the watchdog, which hears that a worker asks for messages"
    KOMBU.takes(Channel, "_brpop_start", ["timeout"], leans)
    KOMBU.says(kombu_redis.MultiChannelPoller, "channel._brpop_start(", leans=leans)
    KOMBU.says(Channel._brpop_read, "rsplit(self.sep, 1)[0]", leans=leans)


def test_a_channel_of_redis_closes_in_these_steps() -> None:
    leans = "channels of a sick Redis, which leave no connection behind"
    KOMBU.says(Channel.close, "self._disconnect_pools() self._close_clients()", leans=leans)
    KOMBU.says(Channel._brpop_read, "finally: self._in_poll = None", leans=leans)  # or it would be read once more


def test_a_place_is_freed_past_redis() -> None:
    leans = "what a worker has in hand when Redis can't be told that it is done"
    KOMBU.takes(virtual.QoS, "ack", ["delivery_tag"], leans)
    # Given a message in hand
    qos = virtual.QoS(Mock(), prefetch_count=1)
    qos.append(Mock(), "tag")
    assert not qos.can_consume()
    # When it is done, then there is room, and Redis was not asked
    virtual.QoS.ack(qos, "tag")
    KOMBU.keeps(qos.can_consume(), "a message that is acknowledged leaves its place", leans)


@pytest.mark.parametrize("item", [b"no JSON", b"\xff", b"{}", b'{"body": 1}'])
def test_bytes_that_are_no_message_become_one(item: bytes) -> None:
    leans = "garbage in a Redis list, which becomes a message of its own bytes and is parked"
    # Given a channel, and bytes in a list that are no message of kombu's
    channel = object.__new__(ours.Channel)
    # When Redis has given them, then kombu can make a message of what it is told
    answer = channel._readable([b"queue", item])
    assert answer is not None
    key, readable = answer
    assert key == b"queue"
    payload = kombu_redis.loads(readable.decode())
    message = Channel.Message(payload, channel=Mock(decode_body=_decoded))
    KOMBU.keeps(message.headers == {GARBAGE: True}, "a message is made of such a payload", leans)
    KOMBU.keeps(bytes(message.body) == item, "its body is decoded from base64", leans)


@pytest.mark.parametrize(("url", "has_one"), [("redis://", True), ("amqp://", True), ("filesystem://", False)])
def test_a_transport_says_whether_it_has_an_event_loop(url: str, has_one: bool) -> None:
    leans = "events.worker.tasks_beside: which apps can run handlers beside their own tasks"
    transport = kombu.Connection(url).get_transport_cls()
    KOMBU.keeps(bool(transport.implements.asynchronous) is has_one, f"{url} says so", leans)


def _decoded(body: str, encoding: str | None) -> bytes:
    return virtual.Base64().decode(body) if encoding == "base64" else body.encode()


def test_json_of_kombu_keeps_what_json_lacks() -> None:
    from datetime import UTC, datetime
    from decimal import Decimal
    from uuid import UUID

    from kombu.utils.json import dumps, loads

    given = [datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.10"), UUID(int=1), b"\xff"]
    KOMBU.keeps(loads(dumps(given)) == given, "kombu's JSON keeps times, decimals, UUIDs and bytes", "plain tasks")
