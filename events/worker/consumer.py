"""Celery's consumer, except that it looks at every message before Celery does.

The consumer gives wake-ups to Celery. It passes on a wake-up for a handler that this worker lacks, to wait for a worker
that has the handler. It parks any other message in the ledger, with its bytes and the reason, then acknowledges it.
"""

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer.delayed_delivery import DelayedDelivery as CeleryDelayedDelivery
from vine import promise

from events.ledger import Group
from events.text import brief
from events.worker.host import host_of
from events.worker.putting_aside import park, pass_on
from events.worker.reconnecting import Reconnecting
from events.worker.validation import Problem, problem_of

log = logging.getLogger("events.worker")

_LEDGER_AWAY = 1.0  # seconds between attempts to write to a ledger that is away; the worker holds the message
_CAREFUL_REDIS = "events.transport.redis:Transport"


class DelayedDelivery(CeleryDelayedDelivery):  # type: ignore[misc]
    """Celery's step that makes 28 quorum queues for tasks with an ETA, left out where no task needs them.

    Our tasks have no ETA, since `due_at` is in the ledger; an application whose tasks have one adds a topic exchange.
    """

    def include_if(self, c: Any) -> bool:
        topic = any(queue.exchange.type != "direct" for queue in c.app.amqp.queues.values())
        return topic and bool(super().include_if(c))


class Consumer(Reconnecting, CeleryConsumer):  # type: ignore[misc]
    """The setting `worker_consumer` names this class."""

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]
        default_steps: ClassVar[list[str]] = [
            f"{__name__}:DelayedDelivery" if "delayed_delivery" in step else step
            for step in CeleryConsumer.Blueprint.default_steps
        ]

    held = 0  # messages of this connection that wait for the ledger

    def connect(self) -> Any:
        self.held = 0
        return super().connect()

    def __init__(self, *arguments: Any, worker_options: dict[str, Any] | None = None, **options: Any) -> None:
        # Workers that ask each other for revoked tasks lose a second at each start and reconnect; gossip costs time all
        # the while. The ledger knows which deliveries must not run.
        quiet = {"without_mingle": True, "without_gossip": True}
        super().__init__(*arguments, worker_options=(worker_options or {}) | quiet, **options)

    def connection_for_read(self, heartbeat: Any = None) -> Any:
        return self.ensure_connected(self.app.connection_for_read(heartbeat=heartbeat, **self._careful))

    def connection_for_write(self, url: Any = None, heartbeat: Any = None) -> Any:
        return self.ensure_connected(self.app.connection_for_write(url=url, heartbeat=heartbeat, **self._careful))

    @property
    def _careful(self) -> dict[str, str]:
        redis = host_of(self.app).pipeline.settings.broker_url.startswith("redis")
        return {"transport": _CAREFUL_REDIS} if redis else {}

    def create_task_handler(self, promise: Any = promise) -> Callable[[Any], None]:
        to_celery = super().create_task_handler(promise)

        def on_message(message: Any) -> None:
            checked = problem_of(message)
            if isinstance(checked, Problem):
                self._park(message, checked)
            elif checked[0].handler not in self.strategies:
                host_of(self.app).lacked.set()
                self._pass_on(message, checked)
            else:
                to_celery(message)

        return on_message

    def cancel_active_requests(self) -> None:
        """End the handlers that run at the end of a cold shutdown. Celery itself can do so only on the prefork pool."""
        if (drain := host_of(self.app).drain) is not None:
            drain.cut()

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Kombu calls this for a message that it can't decode, such as one that it can't decompress."""
        checked = problem_of(message)
        kombus = Problem("malformed message", brief(exc, 1000))
        self._park(message, checked if isinstance(checked, Problem) else kombus)

    def _pass_on(self, message: Any, group: Group) -> None:
        try:
            pass_on(host_of(self.app).pipeline, message, group, self.hostname)
        except Exception as error:
            self._later(error, self._pass_on, message, group)
            return
        self._put_aside(message)

    def _park(self, message: Any, problem: Problem) -> None:
        try:
            park(host_of(self.app).pipeline, message, problem, self.hostname)
        except Exception as error:
            self._later(error, self._park, message, problem)
            return
        self._put_aside(message)

    def _put_aside(self, message: Any) -> None:
        """Acknowledge a message that Celery never sees, and count it: this worker is not idle."""
        message.ack_log_error(log, self.connection_errors)
        host_of(self.app).put_aside += 1

    def _later(self, error: Exception, act: Callable[..., None], *arguments: Any) -> None:
        log.warning("the ledger is away, so this worker holds a message: %s", brief(error, 200))
        self.held += 1
        self.timer.call_after(_LEDGER_AWAY, self._now, (act, *arguments))

    def _now(self, act: Callable[..., None], *arguments: Any) -> None:
        self.held -= 1
        act(*arguments)
