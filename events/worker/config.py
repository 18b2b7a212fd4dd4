"""The settings of Celery that the promise of delivery needs, and those that celeryconfig.py may therefore not set."""

import importlib
import importlib.util
from collections.abc import Iterable
from datetime import timedelta
from types import ModuleType
from typing import Any

from events.errors import ConfigurationError
from events.handling import all_handlers
from events.settings import HARD_LIMIT_GRACE, Settings
from events.text import redact
from events.transport import celery_broker_url, is_rabbitmq, work_queue

_WHY = {
    "task_acks_late": (True, "the messages of a worker that dies would be lost"),
    "task_reject_on_worker_lost": (
        False,
        "the ledger retries lost deliveries; the broker would do so without end",
    ),
    "task_acks_on_failure_or_timeout": (True, "a failed task would block its queue"),
    "task_acks_on_failure": (True, "a failed task would block its queue"),
    "task_acks_on_timeout": (True, "a task over its time limit would be run without end"),
    "task_always_eager": (False, "handlers would run inside publish()"),
    "task_create_missing_queues": (False, "no worker would read a misspelt queue"),
    "task_serializer": ("json", "messages are JSON"),
    "event_serializer": ("json", "messages are JSON"),
    "result_serializer": ("json", "messages are JSON"),
    "task_protocol": (2, "messages are of protocol 2"),
    "enable_utc": (True, "times are UTC"),
}
_SET_ELSEWHERE = {
    "broker_url": "set EVENTS_BROKER_URL",
    "broker_read_url": "set EVENTS_BROKER_URL",
    "broker_write_url": "set EVENTS_BROKER_URL",
    "task_queues": "name queues by @handles(..., queue=...) and EVENTS_QUEUE",
    "task_routes": "name queues by @handles(..., queue=...) and EVENTS_QUEUE",
    "task_default_queue": "set EVENTS_QUEUE",
    "task_default_exchange": "set EVENTS_QUEUE",
    "task_default_routing_key": "set EVENTS_QUEUE",
    "worker_consumer": "this package has its own",
    "task_time_limit": "set EVENTS_TIME_LIMIT, or @handles(..., time_limit=...)",
    "task_soft_time_limit": "set EVENTS_TIME_LIMIT, or @handles(..., time_limit=...)",
    "task_cls": "this package has its own",
}
_OLD_NAMES = {
    "CELERY_ACKS_LATE": "task_acks_late",
    "CELERY_ALWAYS_EAGER": "task_always_eager",
    "CELERY_TASK_SERIALIZER": "task_serializer",
    "CELERY_ACCEPT_CONTENT": "accept_content",
    "CELERY_QUEUES": "task_queues",
    "CELERY_ROUTES": "task_routes",
    "CELERY_DEFAULT_QUEUE": "task_default_queue",
    "CELERYD_CONSUMER": "worker_consumer",
    "CELERYD_TASK_TIME_LIMIT": "task_time_limit",
    "CELERYD_TASK_SOFT_TIME_LIMIT": "task_soft_time_limit",
}
CONFIG_MODULE = "celeryconfig"


def application_settings() -> dict[str, Any]:
    """The settings of the application's celeryconfig.py; {} if there is no such file.

    Raises:
        ConfigurationError: the file can't be imported, or a setting breaks the promise. One line, with the cure.
    """
    if importlib.util.find_spec(CONFIG_MODULE) is None:
        return {}
    try:
        module = importlib.import_module(CONFIG_MODULE)
    except Exception as error:
        raise ConfigurationError(f"{CONFIG_MODULE}.py can't be imported: {type(error).__name__}: {error}") from error
    check_celeryconfig(module)
    return {name: value for name, value in vars(module).items() if _is_setting(name, value)}


def _is_setting(name: str, value: object) -> bool:
    is_public = name.islower() and not name.startswith("_")
    return is_public and not isinstance(value, ModuleType) and not callable(value)


def check_celeryconfig(module: ModuleType) -> None:
    """Raises ConfigurationError for the first setting of the module that breaks the promise."""
    for given, value in vars(module).items():
        name = _modern_name(given)
        where = f"{CONFIG_MODULE}.py: {given} = {redact(repr(value))[:200]}"
        if name in _SET_ELSEWHERE:
            raise ConfigurationError(f"{where} can't be set there; remove this line, and {_SET_ELSEWHERE[name]}")
        if name in _WHY and value != _WHY[name][0]:
            wanted, why = _WHY[name]
            raise ConfigurationError(
                f"{where} breaks the promise of delivery: {why}; remove this line (the value is {wanted!r})"
            )
        if name in ("accept_content", "result_accept_content") and value is not None and set(value) != {"json"}:
            raise ConfigurationError(f"{where} breaks the promise of safety: messages are JSON only; remove this line")
        if name == "worker_pool" and str(value) not in ("prefork", "threads", "solo"):
            raise ConfigurationError(f"{where} is not supported; use prefork, threads or solo")
        if given != name and given.isupper():
            raise ConfigurationError(f"{where}: this package doesn't read old upper-case names; write {name}")


def _modern_name(given: str) -> str:
    if not given.isupper():
        return given
    if given in _OLD_NAMES:
        return _OLD_NAMES[given]
    bare = given.removeprefix("CELERY_").lower()
    return bare if bare in _WHY or bare in _SET_ELSEWHERE or bare.startswith(("task_", "worker_", "broker_")) else given


def required_settings(settings: Settings, queues: Iterable[str], longest: timedelta) -> dict[str, Any]:
    """The settings that the promise needs; they override those of the application.

    Args:
        queues: the queues that this process's handlers name.
        longest: the longest time limit of these handlers.
    """
    required: dict[str, Any] = {
        name: wanted for name, (wanted, _) in _WHY.items() if name != "task_acks_on_failure_or_timeout"
    }
    return required | {
        "broker_url": celery_broker_url(settings),
        "task_queues": [work_queue(name, settings) for name in sorted({settings.queue, *queues})],
        "task_default_queue": settings.queue,
        "task_default_exchange": "",
        "task_default_exchange_type": "direct",
        "task_default_routing_key": settings.queue,
        "accept_content": ["json"],
        "worker_consumer": "events.worker.consumer:Consumer",
        "broker_transport_options": transport_options(settings, longest),
    }


def longest_limit(settings: Settings) -> timedelta:
    """The longest time limit of a handler of this process."""
    return max([settings.time_limit, *(handler.time_limit or timedelta(0) for handler in all_handlers())])


def default_settings(settings: Settings) -> dict[str, Any]:
    """Settings that work well, and that the application may override."""
    return {
        "task_ignore_result": True,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": bool(settings.broker_url),  # Flower needs these; without a broker, they reach nobody
        "worker_enable_remote_control": bool(settings.broker_url),
        # Host names are reused: with an exclusive queue, the second worker of a name could never connect to RabbitMQ.
        "control_queue_exclusive": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # the broker may be away for as long as it likes
        "broker_channel_error_retry": True,
        "broker_heartbeat": 10 if is_rabbitmq(settings) else 0,
    }


def transport_options(settings: Settings, longest: timedelta) -> dict[str, Any]:
    """Kombu's options for a connection that reads wake-ups.

    On Redis its messages that are not acknowledged have keys of their own: workers of other apps that share the
    database put back what they find under kombu's keys, by their own timeout, and so would ours with theirs.
    """
    seconds = settings.broker_timeout.total_seconds()
    if is_rabbitmq(settings):
        return {"confirm_publish": True, "read_timeout": seconds, "write_timeout": seconds}
    if settings.broker_url:
        return {
            # A message that takes longer than this is delivered twice, which the ledger makes harmless.
            "visibility_timeout": max(60, int(2 * (longest + HARD_LIMIT_GRACE).total_seconds())),
            "unacked_key": f"{settings.queue}.unacked",
            "unacked_index_key": f"{settings.queue}.unacked_index",
            "unacked_mutex_key": f"{settings.queue}.unacked_mutex",
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": seconds,
            "socket_timeout": max(15, 3 * seconds),  # above polling_interval, for which a BRPOP waits by design
            "socket_keepalive": True,
            "health_check_interval": 25,
            "polling_interval": 1,  # seconds that an idle BRPOP waits: a new message is seen at once, and so is SIGTERM
        }
    return {}
