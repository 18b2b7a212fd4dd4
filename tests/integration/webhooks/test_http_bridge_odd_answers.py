"""Webhooks of others with answers that no server should give, and what is said of them."""

from collections.abc import Callable

import pytest

from events import ConfigurationError, RetryAfter
from events.bridges import open_bridge
from events.bridges.contract import Publisher
from events.errors import PartlySent, TransportError, Unsendable
from events.settings.settings import Settings
from support.bridged import placed, send
from support.raw_http import OK, Peer, answers

Opener = Callable[[str], Publisher]
NO = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 100,
                                  b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n"])  # fmt: skip
def test_what_is_no_answer_is_tried_again(opened: Opener, said: bytes) -> None:
    with Peer(answers(said, close=True)) as peer, pytest.raises(TransportError, match="can't send to http://127") as it:
        send(opened(peer.url), placed(2))
    assert not isinstance(it.value, PartlySent | Unsendable)


@pytest.mark.parametrize(
    "asked",
    ["", "soon", "-5", "1.5", "0", "\xb2", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 +99999999999",
     "Sun, 99 Nov 99999 99:99:99 GMT"],
)  # fmt: skip
def test_what_says_no_time_leaves_it_to_the_usual_pauses(opened: Opener, asked: str) -> None:
    # Given a server that asks for a pause that makes no sense, or is over
    answer = f"HTTP/1.1 503 Busy\r\nRetry-After: {asked}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    with Peer(answers(answer)) as peer:
        # Then all of a batch is tried, and the failure is none that asks to be tried again at once
        with pytest.raises(PartlySent) as raised:
            send(opened(peer.url), placed(3))
        assert len(peer.requests) == 3
        assert {type(error) for error in raised.value.failed.values()} == {TransportError}


def test_nobody_may_ask_for_more_than_a_day(opened: Opener) -> None:
    answer = b"HTTP/1.1 429 Busy\r\nRetry-After: 1" + b"0" * 5000 + b"\r\nContent-Length: 0\r\n\r\n"
    with Peer(answers(answer)) as peer, pytest.raises(PartlySent) as raised:
        send(opened(peer.url), placed(1))
    (error,) = raised.value.failed.values()
    assert isinstance(error, RetryAfter)
    assert error.delay.total_seconds() == 86_400


def test_a_redirect_names_the_cure(opened: Opener) -> None:
    answer = b"HTTP/1.1 308 Moved\r\nLocation: https://user:pw@h/new?token=t0k\r\nContent-Length: 0\r\n\r\n"
    with Peer(answers(answer)) as peer, pytest.raises(PartlySent) as raised:
        send(opened(peer.url), placed(1))
    assert str(next(iter(raised.value.failed.values()))) == (
        f"{peer.url} answered 308: Moved; it points to https://user:***@h/new?token=***, and redirects are not "
        f"followed: name that URL in EVENTS_BRIDGES"
    )


def test_what_others_write_is_shown_as_one_line(opened: Opener) -> None:
    answer = b"HTTP/1.1 400 No\r\nContent-Length: 12\r\n\r\n\x1b[31ma\r\n\0b\xff "
    with Peer(answers(answer)) as peer, pytest.raises(PartlySent, match=r"answered 400: \[31ma   b\ufffd$"):
        send(opened(peer.url), placed(1))


def test_a_user_and_a_password_may_be_of_any_alphabet(opened: Opener) -> None:
    with Peer(answers(OK)) as peer:
        send(opened(peer.url.replace("://", "://us%C3%A9r:p%E2%82%ACss@")), placed(1))


def test_a_host_that_is_unknown_is_named(opened: Opener) -> None:
    with pytest.raises(TransportError, match=r"NameResolutionError: .*host='nowhere.invalid'.*Failed to resolve"):
        send(opened("http://nowhere.invalid/"), placed(1))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h:99999/", "port out of range"),
        ("http://h/?token=", "token=: it is empty"),
        ("http://h/?secret=&direction=in", "secret=: it is empty"),
        ("http://h/?token=a%0AX-Other:b", "token=***: use printable ASCII"),
        ("http://h/?token=a+b", "a plus sign is written %2B"),
        ("http://h/?token=%E2%82%AC", "token=***: use printable ASCII"),
        ("http://u:s3cret@0.0.0.0:8080/?direction=in", "use ?token=, sent as Authorization: Bearer, or ?secret="),
        ("http://u@0.0.0.0:8080/?direction=in", "are no lock here"),
        ("https://0.0.0.0:8080/?direction=in", "we serve no TLS"),
        ("http://h/?direction=in&per_peer=0", "per_peer=0: use a whole number above zero"),
    ],
)
def test_what_could_only_fail_later_is_said_at_the_start(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        open_bridge(url, Settings(broker_url=""))
    assert said in str(wrong.value)
    assert "s3cret" not in str(wrong.value)
    assert "\n" not in str(wrong.value)
