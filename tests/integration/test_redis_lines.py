"""Connections to Redis that are lost without a word, are ended, or lead to another server by now."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis

from events.errors import TransportError
from rigs.chaos.machines import Machine
from support.bridged import BothEnds, Link, placed, send
from support.forwarder import Forwarder
from support.servers import own_server, server_url
from support.waiting import eventually


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A server of this test's own, that it may stop."""
    with own_server("redis") as machine:
        yield machine


def test_a_subscription_that_hears_nothing_notices_that_the_line_is_lost(machine: Machine, both_ends: BothEnds) -> None:
    # Given a subscriber of Pub/Sub
    publisher, subscriber = both_ends(Link("redis+pubsub", machine.url))
    subscriber.receive(0.01)
    # When its server stops, and the connection stays
    machine.pause()
    # Then it notices
    with pytest.raises(TransportError, match="no answer to PING"):
        eventually(lambda: subscriber.receive(0.2), "it notices", 30)
    # And is subscribed again when the server is back
    machine.resume()

    def subscribed() -> bool:
        try:
            subscriber.receive(0.01)
        except TransportError:
            return False
        return True

    eventually(subscribed, "it is subscribed")
    send(publisher, placed(1))
    eventually(lambda: subscriber.receive(0.2), "it came", 10)


def test_a_subscription_that_is_only_quiet_is_kept(machine: Machine, both_ends: BothEnds) -> None:
    # Given a subscriber who was asked for twice as long as a silent server is waited for
    publisher, subscriber = both_ends(Link("redis+pubsub", machine.url))
    subscriber.receive(4.5)
    subscription = subscriber._subscription
    # When an event is sent, then it comes, by the same subscription
    send(publisher, placed(1))
    eventually(lambda: subscriber.receive(0.2), "it came", 10)
    assert subscriber._subscription is subscription


def test_a_subscription_that_was_ended_is_said_to_be_behind_what_had_arrived(
    machine: Machine, both_ends: BothEnds
) -> None:
    # Given a subscriber that is busy while events arrive, and is cut off as too slow
    publisher, subscriber = both_ends(Link("redis+pubsub", machine.url))
    subscriber.receive(0.01)
    send(publisher, placed(3))
    with redis.Redis.from_url(machine.url) as administrator:
        assert administrator.client_kill_filter(_type="pubsub") == 1
    # When it receives, then what had arrived comes, and after it that something may be missing
    assert len(subscriber.receive(1)) == 3
    with pytest.raises(TransportError, match="Connection closed by server"):
        subscriber.receive(0.1)
    assert subscriber.receive(0.01) == []


@pytest.mark.parametrize("end", ["publisher", "subscriber"])
def test_no_time_out_is_waited_for_twice(end: str, both_ends: BothEnds) -> None:
    # Given a server that accepts, and is silent
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        publisher, subscriber = both_ends(Link("redis+streams", url))
        # When it is used
        with pytest.raises(TransportError, match="Timeout"):
            send(publisher, placed(1)) if end == "publisher" else subscriber.receive(0.01)
        # Then it was asked once
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize("end", ["publisher", "subscriber"])
def test_an_address_that_leads_to_another_server_is_followed(end: str, machine: Machine, both_ends: BothEnds) -> None:
    # Given both ends of a bridge, on a server that becomes a replica
    line = Forwarder(machine.url)
    try:
        publisher, subscriber = both_ends(Link("redis+streams", line.url))
        subscriber.receive(0.01)
        send(publisher, placed(1))
        with redis.Redis.from_url(machine.url) as administrator:
            administrator.execute_command("REPLICAOF", "127.0.0.1", machine.port)
        # When its address leads to another one, though the connections stay
        line._target = ("127.0.0.1", urlsplit(server_url("REDIS")).port or 0)
        with pytest.raises(TransportError, match="ReadOnlyError"):
            send(publisher, placed(1)) if end == "publisher" else subscriber.acknowledge(subscriber.receive(0.01))
        # Then they go there, too
        send(publisher, placed(1)) if end == "publisher" else subscriber.receive(0.01)
    finally:
        line.cut()
