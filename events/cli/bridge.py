"""`events bridge`: what another service sends becomes events here."""

import logging
import os
import socket
from typing import Annotated

import typer

from events import bridges
from events.cli.relaying import on_signals, set_up_logs
from events.errors import ConfigurationError
from events.pipeline import get_pipeline
from events.registry import load_handlers
from events.settings import redact

log = logging.getLogger("events.bridges")


def bridge(
    where: Annotated[
        str, typer.Argument(metavar="URL", help="The bridge's URL, or its name in EVENTS_BRIDGES.", show_default=False)
    ],
) -> None:
    """Receive events from a bridge until stopped (SIGTERM or Ctrl-C). Several may run at once.

    Accepted are event types that the modules in EVENTS_HANDLERS define, or that a handler anywhere is subscribed to;
    what else comes is parked. A server or a database that is away is waited for.

    Example: events bridge 'redis+streams://localhost/0?group=shop'
    """
    pipeline = get_pipeline()
    set_up_logs(pipeline.settings)
    address, found = (bridges.open_bridge if "://" in where else bridges.configured)(where, pipeline.settings)
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
