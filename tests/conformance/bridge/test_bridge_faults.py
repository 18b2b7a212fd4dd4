"""Servers that go away, and processes that end, in the middle of it."""

import threading

import pytest

from events.bridges.contract import AT_ONCE, Features
from rigs.chaos.machines import Machine
from support.bridged import Link, Service, insist, placed, will_remember
from support.forwarder import Forwarder
from support.kafka_mock import Mock
from support.size import FULL, sized
from support.waiting import eventually


@pytest.mark.timeout(sized(300, 600))
def test_a_restart_of_the_server_loses_nothing(
    link: Link, features: Features, server: Machine | Mock, theirs: Service
) -> None:
    if isinstance(server, Mock) and not FULL:
        pytest.skip("tests/integration/test_kafka_bridge.py has brokers that go away")
    # Given a service that receives, and many events on their way
    link = link.with_server(server.url)
    theirs.start(link)
    publisher = link.opened()[1].publisher()
    events = placed(sized(2_000, 20_000))
    eventually(lambda: insist(publisher, events[:1]) or theirs.stored(), "it has subscribed")
    eventually(lambda: will_remember(server, link), "it is on the server's disk")
    half = len(events) // 2
    reached = threading.Event()

    def send_all() -> None:
        for start in range(0, len(events), AT_ONCE):
            if start >= half:
                reached.set()
            if isinstance(server, Mock):  # which forgets what is more, read or not
                eventually(lambda sent=start: sent - len(theirs.stored()) <= Mock.KEEPS, "not too many wait")
            insist(publisher, events[start : start + AT_ONCE])

    sending = threading.Thread(target=send_all)
    sending.start()
    # When the server is killed in the middle, and started again
    reached.wait()
    server.restart()
    sending.join()
    # Then every event is there, once; where the bridge promises no such thing, those are that came later
    if features.acknowledged:
        eventually(lambda: len(theirs.stored()) == len(events), f"{len(events)} events arrived")
        assert set(theirs.stored()) == {event.event_id for event in events}
    else:
        last = placed(1)
        eventually(lambda: insist(publisher, last) or last[0].event_id in theirs.stored(), "it goes on")
    publisher.close()


def test_both_sides_reconnect(link: Link, features: Features, theirs: Service) -> None:
    if features.direct or link.scheme == "kafka":
        pytest.skip("there is no line to a server, or its brokers tell clients to go past it")
    # Given both sides behind a line that can be cut
    line = Forwarder(link.url.partition("?")[0])
    try:
        cut_off = link.with_server(line.url)
        process = theirs.start(cut_off)
        publisher = cut_off.opened()[1].publisher()
        first, last = placed(2)
        eventually(lambda: insist(publisher, [first]) or theirs.stored(), "the first arrived")
        # When it is cut, and healed after a while
        line.cut()
        eventually(lambda: "waits for its server" in process.log.read_text(), "the receiver says what it waits for")
        line.heal()
        # Then what is sent next arrives
        eventually(lambda: insist(publisher, [last]) or last.event_id in theirs.stored(), "the last arrived")
        publisher.close()
    finally:
        line.cut()


def test_kill_9_of_the_receiver_loses_nothing(link: Link, features: Features, theirs: Service) -> None:
    if not features.acknowledged:
        pytest.skip("it promises nothing")
    # Given a receiver in the middle of many events
    process = theirs.start(link)
    publisher = link.opened()[1].publisher()
    events = placed(1_000)
    eventually(lambda: insist(publisher, events[:1]) or theirs.stored(), "it has subscribed")

    def send_all() -> None:
        for start in range(0, len(events), AT_ONCE):
            insist(publisher, events[start : start + AT_ONCE])

    sending = threading.Thread(target=send_all)
    sending.start()
    eventually(lambda: len(theirs.stored()) > 1, "it is at work")
    # When it is killed, and another takes its place
    process.kill()
    theirs.start(link)
    sending.join()
    # Then every event is there, once
    eventually(lambda: len(theirs.stored()) == len(events), "all events arrived")
    assert set(theirs.stored()) == {event.event_id for event in events}
    publisher.close()


def test_sigterm_loses_nothing(link: Link, features: Features, theirs: Service) -> None:
    if not features.acknowledged or features.direct:
        pytest.skip("it promises nothing, or its sender is still waiting")
    # Given a receiver in the middle of many events
    process = theirs.start(link)
    publisher = link.opened()[1].publisher()
    events = placed(1_000)
    eventually(lambda: insist(publisher, events[:1]) or theirs.stored(), "it has subscribed")
    insist(publisher, events)
    eventually(lambda: len(theirs.stored()) > 1, "it is at work")
    # When it is asked to end, and another begins
    assert process.stop() == 0
    theirs.start(link)
    # Then nothing is lost by it
    eventually(lambda: len(theirs.stored()) == len(events), "all events arrived")
    publisher.close()
