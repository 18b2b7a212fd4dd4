"""`events bridge`: what another service sends becomes events here."""

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
from events.errors import ConfigurationError
from events.handling import load_handlers
from events.pipeline import get_pipeline
from events.settings import Settings
from events.text import redact

log = logging.getLogger("events.bridges")


def bridge(
    where: Annotated[
        str,
        typer.Argument(
            metavar="NAME|@FILE|URL",
            help="The bridge's name in EVENTS_BRIDGES, a file that holds its URL, or the URL itself, if there is no "
            "secret in it: others see it.",
            show_default=False,
        ),
    ],
) -> None:
    """Receive events from a bridge until stopped (SIGTERM or Ctrl-C). Several may run at once.

    Accepted are event types that the modules in EVENTS_HANDLERS define, or that a handler anywhere is subscribed to;
    what else comes is parked. A server or a database that is away is waited for.

    Example: events bridge orders
    """
    pipeline = get_pipeline()
    set_up_logs(pipeline.settings)
    address, found = _opened(where, pipeline.settings)
    if "://" in where and redact(where) != where:
        log.warning(
            "bridge %s: its secret stands in the command line, where every user of this machine sees it; put the URL "
            "into EVENTS_BRIDGES and give its name (events bridge %s), or into a file (events bridge @FILE)",
            address.name, address.name,
        )  # fmt: skip
    try:
        load_handlers(pipeline.settings.handlers)
    except ConfigurationError as error:
        log.warning("%s (accepted is what handlers elsewhere are subscribed to)", error)
    pipeline.check()
    receiver = pipeline.receiver(address, found, f"bridge {address.name}, {os.getpid()}@{socket.gethostname()}")
    on_signals(receiver.stop)
    database = redact(pipeline.settings.database_url)
    log.info("bridge %s: %s to %s; Ctrl-C stops it", address.name, redact(address.url), database)
    try:
        receiver.run()
    finally:
        pipeline.close()


def _opened(where: str, settings: Settings) -> tuple[Address, Bridge]:
    """Raises ConfigurationError: there is none, or only one that sends: who wrote its URL didn't mean it to be read."""
    if where.startswith("@"):
        return bridges.open_bridge(_read(Path(where[1:])), settings)
    if "://" in where:
        return bridges.open_bridge(where, settings)
    address, found = bridges.configured(where, settings)
    if not address.inbound:
        raise ConfigurationError(
            f"bridge {where!r} of EVENTS_BRIDGES only sends, as its direction is out; if what others send there shall "
            f"come in, say direction=in or direction=both in its URL"
        )
    return address, found


def _read(path: Path) -> str:
    """The URL that a file holds, such as a secret that is mounted. Raises ConfigurationError."""
    try:
        text, mode = path.read_text("utf-8").strip(), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"can't read the bridge's URL from {path}: {reason}") from None
    if len(text.split()) != 1:
        raise ConfigurationError(f"{path} holds no URL, or more than one: write one line, such as nats://host:4222")
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        log.warning("all users of this machine can get at %s, which holds a bridge's URL: chmod 600 %s", path, path)
    return text
