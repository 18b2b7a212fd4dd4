"""`events bridge`: where its URL comes from, and who else may read it."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.operator import Operator
from support.private_servers import free_port
from support.store import Store

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def url() -> str:
    return f"http://127.0.0.1:{free_port()}/events?secret={SECRET}&name=shop&direction=in"


@contextmanager
def running(operator: Operator, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    process = operator.begins("bridge", *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(operator: Operator, *arguments: object) -> str:
    """What it says until it listens and is stopped."""
    with running(operator, *arguments) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "Ctrl-C stops it" in line:
                process.send_signal(signal.SIGTERM)
        process.wait(60)
    return "".join(lines)


def test_its_secret_need_not_stand_in_the_command_line(store: Store, tmp_path: Path, url: str) -> None:
    # Given a URL in the environment, and in a file that nobody else can read
    file = tmp_path / "bridge"
    file.write_text(f"{url}\n")
    file.chmod(0o600)
    operator = Operator(store.url, EVENTS_HANDLERS="colorsys", EVENTS_BRIDGES=url)
    # When it is started by its name, or by the file, then nothing is warned of, and no secret told
    for where in ("shop", f"@{file}"):
        text = said(operator, where)
        assert "bridge shop: http://127.0.0.1" in text
        assert not any(word in text for word in ("WARNING", SECRET))
    # When the file is open to all, or the URL stands in the command line, then that is warned of, with the cure
    file.chmod(0o644)
    assert f"chmod 600 {file}" in said(operator, f"@{file}")
    warned = said(operator, url)
    assert "events bridge @FILE" in warned
    assert SECRET not in warned


def test_a_file_that_holds_no_url_is_one_line(store: Store, tmp_path: Path) -> None:
    operator = Operator(store.url)
    assert "can't read the bridge's URL" in operator.is_refused(1, "bridge", f"@{tmp_path / 'absent'}")
    (tmp_path / "two").write_text(f"nats://a\nnats://u:{SECRET}@b\n")
    (tmp_path / "none").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("two", "none", "bytes"):
        complaint = operator.is_refused(1, "bridge", f"@{tmp_path / name}")
        assert complaint.count("\n") == 1
        assert SECRET not in complaint


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://u:s3cret@127.0.0.1:1/e", "no lock here"),
        ("https://127.0.0.1:1/e?token=s3cret", "we serve no TLS"),
        ("http://127.0.0.1:1/e?sceret=s3cret&Token=s3cret", "it has no parameter sceret, Token; the lock is"),
    ],
)
def test_what_would_be_no_lock_is_refused(store: Store, url: str, why: str) -> None:
    complaint = Operator(store.url, EVENTS_HANDLERS="colorsys").is_refused(1, "bridge", url)
    assert why in complaint
    assert "s3cret" not in complaint


@pytest.mark.parametrize("direction", ["&direction=out", ""])
def test_a_bridge_that_only_sends_is_not_read(store: Store, direction: str) -> None:
    # Given a bridge in the environment that events go out by, and nothing else
    url = f"http://127.0.0.1:{free_port()}/events?name=shop{direction}"
    operator = Operator(store.url, EVENTS_HANDLERS="colorsys", EVENTS_BRIDGES=url)
    # When somebody starts it by its name, then it is refused in one line that says what to do
    complaint = operator.is_refused(1, "bridge", "shop")
    assert "bridge 'shop' of EVENTS_BRIDGES only sends" in complaint
    assert "direction=both" in complaint
