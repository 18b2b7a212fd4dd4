"""The broker: whether it is reachable, keeps its messages, and gives workers the time that they need."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from events.diagnosis.findings import Finding, error, ok, warning
from events.handling import all_handlers
from events.pipeline import Pipeline
from events.settings import HARD_LIMIT_GRACE
from events.text import brief
from events.transport import broker_cure, connect, is_rabbitmq, work_queue

_TIMEOUT = 5.0  # seconds for each step
_CONSUMER_TIMEOUT = 1800.0  # seconds: RabbitMQ's default


def reachable(pipeline: Pipeline) -> list[Finding]:
    if not pipeline.settings.broker_url:
        return [ok("broker", "no broker: workers take their deliveries from the ledger")]
    try:
        with _connected(pipeline) as connection:
            connection.default_channel  # noqa: B018 - opens it
    except Exception as refused:
        cure = broker_cure(refused) or "check EVENTS_BROKER_URL"
        said = " ".join(str(refused).split()) or type(refused).__name__
        return [error("broker", f"{pipeline.settings.broker_url}: {said[:300]}", cure)]
    return [ok("broker", f"{pipeline.settings.broker_url} answers")]


def redis(pipeline: Pipeline) -> list[Finding]:
    if not pipeline.settings.broker_url.startswith("redis"):
        return []
    with _connected(pipeline) as connection:
        client = connection.default_channel.client
        try:
            config = client.config_get("maxmemory-policy") | client.config_get("appendonly") | client.config_get("save")
        except Exception as refused:  # managed servers forbid CONFIG
            cure = "make sure that maxmemory-policy is noeviction, and that Redis persists its data"
            return [warning("redis", f"Redis doesn't show its configuration: {refused}", cure)]
    return [_eviction(config), _persistence(config), _visibility(pipeline)]


def _eviction(config: Mapping[str, str]) -> Finding:
    policy = config.get("maxmemory-policy", "")
    if policy == "noeviction":
        return ok("maxmemory-policy", policy)
    cure = "run CONFIG SET maxmemory-policy noeviction: a dropped wake-up delays its delivery by the stale window"
    return error("maxmemory-policy", policy, cure)


def _persistence(config: Mapping[str, str]) -> Finding:
    if config.get("appendonly") == "yes":
        return ok("persistence", "append-only file")
    if config.get("save"):
        return ok("persistence", "snapshots")
    says = "Redis doesn't persist: after a restart, the relay sends all wake-ups again when the stale window has passed"
    return warning("persistence", says, "run CONFIG SET appendonly yes")


def _visibility(pipeline: Pipeline) -> Finding:
    from events.worker import required_settings  # loads Celery

    longest = _longest(pipeline)
    options = required_settings(pipeline.settings, [], longest)["broker_transport_options"]
    visible, needed = options["visibility_timeout"], longest.total_seconds()
    says = f"{visible} s; the longest time limit is {needed:g} s"
    if visible > needed:
        return ok("visibility_timeout", says)
    return error("visibility_timeout", says, "shorten the time_limit of that handler")


def rabbitmq(pipeline: Pipeline) -> list[Finding]:
    settings = pipeline.settings
    if not is_rabbitmq(settings):
        return []
    return [*(_queue(pipeline, name) for name in _queues(pipeline)), _consumer_timeout(pipeline)]


def _queue(pipeline: Pipeline, name: str) -> Finding:
    settings = pipeline.settings
    with _connected(pipeline) as connection:
        if not _exists(connection, name):
            return ok("queue", f"queue {name} doesn't exist yet; the relay declares it")
        try:
            work_queue(name, settings).bind(connection.channel()).queue_declare()
        except Exception as refused:
            cure = (
                f"delete the queue (rabbitmqctl delete_queue {name}), and the relay sends its wake-ups again; or set "
                f"EVENTS_RABBITMQ_QUEUE_TYPE to the type of the queue"
            )
            return error("queue", f"queue {name} was declared with other arguments: {brief(refused, 200)}", cure)
    return ok("queue", f"queue {name} is declared as it should be ({settings.rabbitmq_queue_type})")


def _consumer_timeout(pipeline: Pipeline) -> Finding:
    longest = (_longest(pipeline) + HARD_LIMIT_GRACE).total_seconds()
    default = f"RabbitMQ's default is {_CONSUMER_TIMEOUT:g} s"
    says = f"AMQP doesn't show this setting; {default}, and handlers may take {longest:g} s"
    if longest < _CONSUMER_TIMEOUT:
        return ok("consumer_timeout", says)
    cure = f"set consumer_timeout = {int(longest * 2000)} in rabbitmq.conf (milliseconds)"
    return error("consumer_timeout", says, cure)


def _queues(pipeline: Pipeline) -> list[str]:
    try:
        subscribed = {handler.queue for handler in pipeline.ledger.overviews.take(finished=False).handlers}
        return sorted(({pipeline.settings.queue} | subscribed | pipeline.ledger.outbox.waiting().keys()) - {""})
    except Exception:  # the checks of the database tell of its errors
        return [pipeline.settings.queue]


def _connected(pipeline: Pipeline) -> Any:
    return closing(connect(pipeline.settings, _TIMEOUT))


def _exists(connection: Any, queue: str) -> bool:
    try:
        connection.channel().queue_declare(queue, passive=True)
    except connection.channel_errors:
        return False
    return True


def _longest(pipeline: Pipeline) -> Any:
    limits = [handler.time_limit for handler in all_handlers() if handler.time_limit is not None]
    return max([pipeline.settings.time_limit, *limits])
