"""What of py-amqp we lean on beyond its documentation."""

import inspect
import struct
from importlib.metadata import version
from unittest.mock import Mock

import amqp
import pytest
from amqp.exceptions import FrameSyntaxError
from amqp.method_framing import frame_handler
from amqp.serialization import dumps, loads
from kombu import Connection

from support.seam_checks import Library

AMQP = Library("py-amqp", version("amqp"))


def test_confirms_come_as_events_of_the_channel() -> None:
    leans = "publisher confirms, of which many are outstanding at a time"
    AMQP.says(amqp.Channel.__init__, "self.events = defaultdict(set)", leans=leans)
    AMQP.says(amqp.Channel._on_basic_ack, "self.events['basic_ack']", "(delivery_tag, multiple)", leans=leans)
    AMQP.says(amqp.Channel._on_basic_nack, "self.events['basic_nack']", "(delivery_tag, multiple)", leans=leans)
    AMQP.says(
        amqp.Channel._on_basic_return,
        "self.events.get('basic_return')",
        "(exc, exchange, routing_key, message)",
        leans=leans,
    )


def test_a_connection_ends_without_a_word() -> None:
    leans = "connections to a RabbitMQ that may be gone, which are dropped without a wait"
    connection = amqp.Connection()
    AMQP.has(connection, "collect", leans)
    # Given a connection whose socket is open
    connection._transport = transport = Mock()
    # When it is dropped, then the socket is closed, and nothing was sent
    connection.collect()
    AMQP.keeps([name for name, *_ in transport.mock_calls] == ["close"], "collect() only closes the socket", leans)
    assert hasattr(Connection, "collect"), AMQP.moved("kombu's Connection has no collect()", leans)


def test_frames_go_through_a_handler_of_ours() -> None:
    leans = "messages whose properties can't be read, which are parked"
    AMQP.keeps("frame_handler" in inspect.signature(amqp.Connection).parameters, "it takes a frame_handler", leans)
    AMQP.keeps(list(inspect.signature(frame_handler).parameters)[:2] == ["connection", "callback"],
               "frame_handler takes (connection, callback)", leans)  # fmt: skip
    AMQP.says(frame_handler, "frame_type, channel, buf = frame", leans=leans)
    # Given the head of a content, whose text is no UTF-8: class, weight, size, flags, content type
    head = struct.pack(">HHQH", 60, 0, 0, 1 << 15)
    # When it is read, then that fails, and a head without properties doesn't
    with pytest.raises(UnicodeDecodeError):
        amqp.Message().inbound_header(head + b"\x01\xff")
    amqp.Message().inbound_header(head[:12] + b"\0\0")


@pytest.mark.parametrize("name", ["on_blocked", "on_unblocked", "read_timeout"])
def test_reading_takes_a_time_limit(name: str) -> None:
    leans = "a server that stops in the middle of a frame, which is taken for one that is away"
    AMQP.takes(amqp.Connection, "blocking_read", ["timeout"], leans)
    AMQP.says(amqp.Connection.drain_events, "self.blocking_read(timeout)", leans=leans)
    AMQP.says(amqp.Connection.blocking_read, "self.on_inbound_frame(frame)", leans=leans)
    AMQP.keeps(name in inspect.signature(amqp.Connection).parameters, f"a connection takes {name}", leans)
    AMQP.has(amqp.Connection(), name, leans)


def test_what_has_no_room_on_the_wire_is_an_error() -> None:
    leans = "a message that can't be sent, which is found without the broker"
    assert loads("ssF", dumps("ssF", ("queue", "id", {"number": 1})), 0)[0] == ["queue", "id", {"number": 1}]
    with pytest.raises(struct.error):
        dumps("s", ("q" * 256,))
    with pytest.raises(FrameSyntaxError):
        dumps("F", ({"what": object()},))
    properties = [kind for name, kind in amqp.Message.PROPERTIES if name in ("application_headers", "correlation_id")]
    AMQP.keeps(properties == ["F", "s"], "headers are a table, and the correlation id a short text", leans)
    tag, number, *_, key = loads("sLbss", dumps("sLbss", ("tag", 7, False, "exchange", "key")), 0)[0]
    assert (tag, number, key) == ("tag", 7, "key")
