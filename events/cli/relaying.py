"""`events relay`: the relay as a process of its own."""

import gc
import logging
import signal
from types import FrameType

import typer

from events.errors import ConfigurationError
from events.pipeline import get_pipeline
from events.settings import redact
from events.watchdog import Watchdog


def relay() -> None:
    """Send what is due until stopped (SIGTERM or Ctrl-C). Several may run at once. Needs a broker.

    Use it with EVENTS_RELAY=off in the workers; by default every worker relays by itself.

    Example: EVENTS_BROKER_URL=redis://localhost/0 events relay
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    pipeline = get_pipeline()
    if not pipeline.settings.broker_url:
        raise ConfigurationError(
            "EVENTS_BROKER_URL is not set: without a broker every worker relays for itself, so `events relay` has "
            "nobody to send to; set it to redis://... or amqp://..., or start `celery -A events worker`"
        )
    pipeline.check()
    running = pipeline.relay()

    def stop(_: int, __: FrameType | None) -> None:
        running.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    typer.echo(
        f"events relay: {redact(pipeline.settings.database_url)} to {redact(pipeline.settings.broker_url)}; "
        f"Ctrl-C stops it",
        err=True,
    )
    watchdog = Watchdog(pipeline.settings.watchdog, {"the relay": running.silence})
    watchdog.start()
    gc.collect()
    gc.freeze()  # what is loaded stays: not to be searched for garbage again and again
    try:
        running.run()
    finally:
        watchdog.stop()
        pipeline.close()
