"""Bridges without a server: what their URLs say, and what the handler of one does."""

from datetime import timedelta

import pytest

from events import ConfigurationError, DomainEvent
from events.bridges import configured, open_bridge, opened
from events.bridges.address import Address
from events.bridges.contract import Message
from events.bridges.forwarding import PATIENT, Forwarding, bridge_handlers
from events.definition.ids import uuid7
from events.errors import PartlySent, TransportError, Unsendable
from events.event import Metadata
from events.handling.kinds import Wanted
from events.ledger.identity import received_id
from events.retry import RetryAfter
from events.settings.environment import load_settings
from events.settings.settings import Settings
from events.text.redaction import redact


class Posted(DomainEvent):
    text: str = ""


class Fake:
    """A bridge and its publisher, which fails when told to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.tries = 0
        self.error: Exception | None = None

    def publisher(self) -> "Fake":
        return self

    def send(self, messages: list[Message]) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.sent += messages


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def forwarding(fake: Fake) -> Forwarding:
    return Forwarding(Address("fake", "fake://h", "here"), fake, "/us")


def settings(*urls: str, **more: object) -> Settings:
    return Settings(bridges=urls, broker_url="", **more)


def test_urls_are_separated_by_commas_or_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_BRIDGES", "redis+streams://h/0?forward=A,B, nats://n:4222 redis+pubsub://h?name=p")
    assert load_settings().bridges == ("redis+streams://h/0?forward=A,B", "nats://n:4222", "redis+pubsub://h?name=p")


def test_what_a_url_says_and_what_is_left_for_the_client() -> None:
    url = "redis+streams://h/0?name=shop&direction=both&forward=A,B&format=structured&maxlen=5&ssl_check_hostname=no"
    address, _ = open_bridge(url, settings(queue="q", broker_timeout="2s"))
    assert (address.name, address.outbound, address.inbound, address.forward) == ("shop", True, True, ("A", "B"))
    assert (address.form, address.group, address.timeout) == ("structured", "q", 2.0)
    assert (address.options, address.url) == ({"maxlen": "5"}, "redis+streams://h/0?ssl_check_hostname=no")
    plain, _ = open_bridge("redis+streams://h", settings(forward=("*",)))
    assert (plain.name, plain.outbound, plain.inbound, plain.forward) == ("redis", True, False, ("*",))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("carrier+pigeon://h", "there is no bridge for carrier+pigeon://; there are http://"),
        ("redis+streams://h?direction=up", "direction=up: use out, in or both"),
        ("redis+streams://h?format=xml", "format=xml: use flat or structured"),
        ("redis+streams://h?name=a.b", "name=a.b: use 1 to 100 letters"),
        ("redis+streams://h?group=a*", "group=a*: use 1 to 100 letters"),
        ("redis+streams://h?maxlen=none", "maxlen=none: use a whole number"),
        ("redis+streams://h?redeliver=soon", "redeliver=soon: use a number of seconds"),
        ("nats://h?stream=x", "stream=x: there is no such parameter of a NATS bridge"),
        ("redis+streams://u:secret@h?stream=", "name a stream"),
    ],
)
def test_a_wrong_url_is_one_line_with_the_cure_and_no_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        open_bridge(url, settings())
    assert said in str(wrong.value)
    assert "secret" not in str(wrong.value)


def test_two_bridges_need_two_names() -> None:
    with pytest.raises(ConfigurationError, match="another bridge has this name"):
        opened(settings("redis+streams://h", "redis+pubsub://h"))
    both = settings("redis+streams://h", "redis+pubsub://h?name=live")
    assert [address.name for address, _ in opened(both)] == ["redis", "live"]
    assert configured("live", both)[0].scheme == "redis+pubsub"
    with pytest.raises(ConfigurationError, match="no bridge named 'x', only redis, live"):
        configured("x", both)


def test_a_bridge_is_a_batch_handler_of_what_it_forwards(fake: Fake) -> None:
    out = Address("fake", "fake://h", "here", forward=("Posted",))
    into = Address("fake", "fake://h", "there", outbound=False, inbound=True)
    (handler,) = bridge_handlers([(out, fake), (into, fake)], [Posted], "/us")
    assert (handler.name, handler.events, handler.batch, handler.most) == ("bridge.here", (Posted,), True, 100)
    assert handler.wants == {"events": Wanted.EVENTS}


def test_a_bridge_with_nothing_to_forward_is_no_handler(fake: Fake) -> None:
    assert bridge_handlers([(Address("fake", "fake://h", "here"), fake)], [Posted], "/us") == []


def test_what_came_through_a_bridge_is_not_sent_back_to_it(forwarding: Forwarding, fake: Fake) -> None:
    theirs, elsewhere, ours = (
        Posted(metadata=Metadata(bridge="here")), Posted(metadata=Metadata(bridge="other")), Posted(),
    )  # fmt: skip
    forwarding.forward([theirs, elsewhere, ours])
    assert [message.event_id for message in fake.sent] == [str(elsewhere.event_id), str(ours.event_id)]
    forwarding.forward([theirs])
    assert fake.tries == 1


def test_a_copy_under_an_id_of_its_own_is_ours_and_is_sent(forwarding: Forwarding, fake: Fake) -> None:
    # Given an event that came through the bridge, and a copy of it that a handler has published
    metadata = Metadata(bridge="here", source="/them", sender_event_id="17")
    theirs = Posted(event_id=received_id("/them", "17"), metadata=metadata)
    copy = theirs.model_copy(update={"text": "corrected", "event_id": uuid7()})
    # When both are forwarded, then only those who don't know it get it
    forwarding.forward([theirs, copy])
    assert [message.event_id for message in fake.sent] == [str(copy.event_id)]


def test_while_the_server_is_away_only_the_first_waits_for_it(forwarding: Forwarding, fake: Fake) -> None:
    # Given a server that is away
    fake.error = TransportError("no answer")
    with pytest.raises(TransportError, match="no answer"):
        forwarding.forward([Posted()])
    # When the next event comes, it fails at once, with the same reason
    with pytest.raises(TransportError, match=r"tried again in .* after: no answer"):
        forwarding.forward([Posted()])
    assert fake.tries == 1


def test_a_batch_is_taken_apart_by_a_first_failure_and_by_none_that_follows(
    forwarding: Forwarding, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that is away
    fake.error = TransportError("no answer")
    events = [Posted(), Posted()]
    # When a batch fails, then as a whole: something in it may be to blame
    with pytest.raises(TransportError) as first:
        forwarding.forward(events)
    assert type(first.value) is TransportError
    # When others fail after it, at once or by trying, then each for itself: the server is to blame
    for tried_again in (False, True):
        monkeypatch.setattr(forwarding, "_again_at", 0.0) if tried_again else None
        with pytest.raises(PartlySent) as failed:
            forwarding.forward(events)
        assert list(failed.value.failed) == [str(event.event_id) for event in events]
        assert {type(error) for error in failed.value.failed.values()} == {TransportError}
    assert fake.tries == 2
    # When it is back, and fails again
    fake.error = None
    monkeypatch.setattr(forwarding, "_again_at", 0.0)
    forwarding.forward(events)
    fake.error = TransportError("no answer")
    # Then that is a first failure
    with pytest.raises(TransportError) as again:
        forwarding.forward(events)
    assert type(again.value) is TransportError


def test_what_can_never_be_sent_holds_up_nobody(forwarding: Forwarding, fake: Fake) -> None:
    fake.error = Unsendable("too large")
    with pytest.raises(Unsendable):
        forwarding.forward([Posted()])
    fake.error = None
    forwarding.forward([Posted()])
    assert len(fake.sent) == 1


def test_what_fails_for_itself_leaves_the_others_alone(forwarding: Forwarding, fake: Fake) -> None:
    # Given a server that takes all but one
    events = [Posted(text=text) for text in ("good", "bad")]
    bad = str(events[1].event_id)
    fake.error = PartlySent({bad: RetryAfter(60)})
    # When both are sent, then the ledger is told which
    with pytest.raises(PartlySent) as raised:
        forwarding.forward(events)
    assert list(raised.value.failed) == [bad]
    # When the one is sent alone, then its own reason is raised, which says when to try again
    with pytest.raises(RetryAfter):
        forwarding.forward(events[1:])
    # And the server is not taken for away
    fake.error = None
    forwarding.forward(events)
    assert len(fake.sent) == 2


def test_a_server_that_asks_for_short_pauses_is_asked_as_long_as_any_other() -> None:
    # Given a server that says each time to come again in a second
    waits = [PATIENT.delay_after(RetryAfter(1), attempt) for attempt in range(1, PATIENT.max_attempts)]
    # Then the pauses grow all the same, to half a day in all
    assert sum((wait for wait in waits if wait), timedelta()) > timedelta(hours=12)
    # And one that asks for a longer pause gets it
    assert PATIENT.delay_after(RetryAfter(7200), 1) == timedelta(hours=2)


def test_no_token_or_secret_is_shown() -> None:
    url = "https://u:hidden@h/p?token=hidden&secret=hidden"
    assert "hidden" not in redact(f"can't reach {url}")
    assert "hidden" not in repr(open_bridge("http://u:hidden@h/p?token=hidden", settings())[0])
