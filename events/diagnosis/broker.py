"""The broker: reachable, keeps what it is given, and gives workers the time that they need."""

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
        return [ok("broker", "none: workers feed themselves from the ledger")]
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
            told = client.config_get("maxmemory-policy") | client.config_get("appendonly") | client.config_get("save")
        except Exception as refused:  # managed ones forbid CONFIG
            return [warning("redis", f"its configuration can't be read: {refused}",
                            "see to it that maxmemory-policy is noeviction, and that it persists")]  # fmt: skip
    found = []
    policy = told.get("maxmemory-policy")
    cure = "CONFIG SET maxmemory-policy noeviction: it would drop wake-ups, which costs the stale window each time"
    found.append(ok("maxmemory-policy", policy) if policy == "noeviction" else error("maxmemory-policy", policy, cure))
    if told.get("appendonly") == "yes" or told.get("save"):
        found.append(ok("persistence", "append-only file" if told.get("appendonly") == "yes" else "snapshots"))
    else:
        says = "none: after a restart all wake-ups are sent again, when the stale window has passed"
        found.append(warning("persistence", says, "CONFIG SET appendonly yes"))
    from events.worker import required_settings  # loads Celery

    longest = _longest(pipeline)
    options = required_settings(pipeline.settings, [], longest)["broker_transport_options"]
    visible, needs = options["visibility_timeout"], longest.total_seconds()
    says = f"{visible} s; the longest time limit is {needs:g} s"
    if visible > needs:
        found.append(ok("visibility_timeout", says))
    else:
        found.append(error("visibility_timeout", says, "shorten the handler's time_limit"))
    return found


def rabbitmq(pipeline: Pipeline) -> list[Finding]:
    settings = pipeline.settings
    if not is_rabbitmq(settings):
        return []
    found = []
    for name in _queues(pipeline):
        with _connected(pipeline) as connection:
            queue = work_queue(name, settings)
            if not _exists(connection, name):
                found.append(ok("queue", f"{name} is not there yet; the relay makes it"))
                continue
            try:
                queue.bind(connection.channel()).queue_declare()
                found.append(ok("queue", f"{name} is as it should be ({settings.rabbitmq_queue_type})"))
            except Exception as refused:
                cure = (f"delete it (rabbitmqctl delete_queue {name}): the ledger sends again what was in it; or set "
                        f"EVENTS_RABBITMQ_QUEUE_TYPE to what it is")  # fmt: skip
                found.append(error("queue", f"{name} was declared otherwise: {brief(refused, 200)}", cure))
    longest = (_longest(pipeline) + HARD_LIMIT_GRACE).total_seconds()
    says = (
        f"can't be read over AMQP; RabbitMQ's default is {_CONSUMER_TIMEOUT:g} s, and handlers may take {longest:g} s"
    )
    if longest >= _CONSUMER_TIMEOUT:
        cure = f"set consumer_timeout = {int(longest * 2000)} in rabbitmq.conf (milliseconds)"
        found.append(error("consumer_timeout", says, cure))
    else:
        found.append(ok("consumer_timeout", says))
    return found


def _queues(pipeline: Pipeline) -> list[str]:
    try:
        subscribed = {handler.queue for handler in pipeline.ledger.overviews.take(finished=False).handlers}
        return sorted(({pipeline.settings.queue} | subscribed | pipeline.ledger.outbox.waiting().keys()) - {""})
    except Exception:  # the database's trouble is told elsewhere
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
