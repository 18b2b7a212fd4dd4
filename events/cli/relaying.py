"""`events relay`: the relay as a process of its own."""

import gc
import logging
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import typer

from events.current_pipeline import get_pipeline
from events.errors import ConfigurationError
from events.pipeline import Pipeline
from events.relay import Relay
from events.settings import Settings
from events.text import printable, redact
from events.watchdog import Signs, Watchdog

if TYPE_CHECKING:
    from events.monitoring import Server

log = logging.getLogger("events.relay")


def relay() -> None:
    """Send due deliveries to the broker until SIGTERM or Ctrl-C. Several relays may run at once.

    Use this command with EVENTS_RELAY=off in the workers; by default, every worker relays by itself.

    Example: EVENTS_BROKER_URL=redis://localhost/0 events relay
    """
    pipeline = get_pipeline()
    set_up_logs(pipeline.settings)
    if not pipeline.settings.broker_url:
        raise ConfigurationError(
            "EVENTS_BROKER_URL is not set: without a broker every worker relays for itself, and `events relay` has no "
            "queue to send to; set EVENTS_BROKER_URL to redis://... or amqp://..., or start `celery -A events worker`"
        )
    pipeline.check()
    pipeline.check_listening()
    running = pipeline.relay()
    signs: Signs = {"the relay": running.silence}
    server = _server(pipeline, running, signs) if pipeline.settings.http_port else None
    on_signals(running.stop)
    way = f"{redact(pipeline.settings.database_url)} to {redact(pipeline.settings.broker_url)}; Ctrl-C stops it"
    if pipeline.settings.log_format == "json":
        log.info("%s", way)
    else:
        typer.echo(f"events relay: {printable(way)}", err=True)
    watchdog = Watchdog(pipeline.settings.watchdog, signs)
    watchdog.start()
    if server is not None:
        server.start()
    gc.collect()
    gc.freeze()  # the loaded modules stay: the collector need not search them for garbage again and again
    try:
        running.run()
    finally:
        watchdog.stop()
        pipeline.close()


def on_signals(stop: Callable[[], None]) -> None:
    """SIGTERM and Ctrl-C call `stop`, for an orderly end. A second signal ends the process at once; nothing is lost."""

    def handle(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def set_up_logs(settings: Settings) -> None:
    """Log to standard error, as EVENTS_LOG_FORMAT says. For commands that run for long."""
    from events.monitoring import JsonFormatter, make_plain  # here: it loads kombu and the client of Prometheus

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    make_plain(logging.getLogger())
    if settings.log_format == "json":
        logging.captureWarnings(True)
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())


def _server(pipeline: Pipeline, running: Relay, signs: Signs) -> "Server":
    """The server of this relay's metrics and health. Its imports are here, as importing a command imports them all."""
    from events.monitoring import RelayCounts, broker_probe, server_of

    relay_counts = RelayCounts()
    pipeline.hooks.add(relay_counts)
    conditions = {"broker": broker_probe(pipeline)}
    return server_of(pipeline, signs, conditions, lambda: running.stopped, relay=running, relay_counts=relay_counts)
