"""`events bridge`: messages of another service become events here."""

import logging
import os
import socket
import stat
from pathlib import Path
from typing import Annotated

import typer

from events import bridges
from events.bridges import Address, Bridge
from events.cli.relaying import on_signals, set_up_logs
from events.current_pipeline import get_pipeline
from events.errors import ConfigurationError
from events.handling import load_handlers
from events.settings import Settings
from events.text import redact

log = logging.getLogger("events.bridges")


def bridge(
    where: Annotated[
        str,
        typer.Argument(
            metavar="NAME|@FILE|URL",
            help="The name of a bridge in EVENTS_BRIDGES, a file that holds the URL of a bridge, or the URL itself. "
            "Every user of the machine can see a URL on the command line: give it only if it holds no secret.",
            show_default=False,
        ),
    ],
) -> None:
    """Receive events from a bridge until SIGTERM or Ctrl-C. Several of these commands may run at once.

    The command accepts the event types that the modules in EVENTS_HANDLERS define, and those to which a handler is
    subscribed; it parks every other message. While the server or the database is away, the command waits.

    Example: events bridge orders
    """
    pipeline = get_pipeline()
    set_up_logs(pipeline.settings)
    address, opened = _opened(where, pipeline.settings)
    if "://" in where and redact(where) != where:
        log.warning(
            "bridge %s: the URL on the command line holds a secret, which every user of this machine can see; put the "
            "URL into EVENTS_BRIDGES and give the name of the bridge (events bridge %s), or put it into a file (events "
            "bridge @FILE)",
            address.name,
            address.name,
        )
    try:
        load_handlers(pipeline.settings.handlers)
    except ConfigurationError as error:
        log.warning("%s (so this bridge accepts only events to which a handler is subscribed)", error)
    pipeline.check()
    receiver = pipeline.receiver(address, opened, f"bridge {address.name}, {os.getpid()}@{socket.gethostname()}")
    on_signals(receiver.stop)
    database = redact(pipeline.settings.database_url)
    log.info("bridge %s: %s to %s; Ctrl-C stops it", address.name, redact(address.url), database)
    try:
        receiver.run()
    finally:
        pipeline.close()


def _opened(where: str, settings: Settings) -> tuple[Address, Bridge]:
    """The bridge of this name, file or URL.

    Raises ConfigurationError if there is no such bridge, or if it only sends: the author of its URL didn't mean us to
    read from there.
    """
    if where.startswith("@"):
        return bridges.open_bridge(_read(Path(where[1:])), settings)
    if "://" in where:
        return bridges.open_bridge(where, settings)
    address, configured = bridges.configured(where, settings)
    if not address.inbound:
        raise ConfigurationError(
            f"bridge {where!r} of EVENTS_BRIDGES only sends, because its direction is out; to receive events by this "
            f"bridge, say direction=in or direction=both in its URL"
        )
    return address, configured


def _read(path: Path) -> str:
    """The URL that a file holds, such as a mounted secret. Raises ConfigurationError if the file can't be read."""
    try:
        text, mode = path.read_text("utf-8").strip(), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the file is not UTF-8 text"
        raise ConfigurationError(f"can't read the bridge's URL from {path}: {reason}") from None
    if len(text.split()) != 1:
        raise ConfigurationError(f"{path} holds no URL, or more than one: write one line, such as nats://host:4222")
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        log.warning(
            "other users of this machine can read or change %s, which holds a bridge's URL: run chmod 600 %s",
            path,
            path,
        )
    return text
