"""Makes the stream with our subjects on a JetStream server, and the durable consumer of a group, if they are missing.

A stream or a consumer that is there already is used as it is, unless it would lose events.
"""

import logging

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from events.bridges.address import Address, wrong

log = logging.getLogger("events.bridges")

_MAX_LENGTH = 1_000_000  # messages


class Unfit(nats.errors.Error):
    """The stream or the consumer on the server can't be used; the message names the cure."""


def check(address: Address) -> None:
    """Raises ConfigurationError for options that no stream can have."""
    address.number("maxlen", _MAX_LENGTH)
    name = stream_name(address)
    if any(letter in " .*>/\\" or not letter.isprintable() for letter in name):
        raise wrong(address.url, f"stream={name}", r"use a name without spaces, '.', '*', '>', '/' and '\'")


def stream_name(address: Address) -> str:
    return address.options.get("stream") or address.prefix


def subjects(address: Address) -> str:
    return f"{address.prefix}.>"


async def make_stream(client: Client, address: Address) -> str:
    """The name of the stream with our subjects; made if there is none. Raises Unfit if the stream would lose events."""
    context = client.jetstream(timeout=address.timeout)
    name = stream_name(address)
    try:
        config = (await context.stream_info(name)).config
    except NotFoundError:
        return await _new_stream(context, address, name)
    ours = subjects(address).split(".")
    if not any(_overlap(pattern.split("."), ours) for pattern in config.subjects or ()):
        if other := await _of_our_subjects(context, address):
            return other
        raise Unfit(
            f"stream {name!r} has the subjects {', '.join(config.subjects or ()) or '(none)'}: add {subjects(address)} "
            f"to it, or name another by ?stream="
        )
    if config.no_ack:
        raise Unfit(f"stream {name!r} acknowledges nothing, so that events may be lost: edit it (--ack)")
    return name


async def make_consumer(client: Client, address: Address, stream: str) -> None:
    """Make the durable consumer, named after the group, if it is missing. Raises Unfit if it can't be used."""
    context = client.jetstream(timeout=address.timeout)
    ours = ConsumerConfig(
        durable_name=address.group,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=address.redeliver,
        max_deliver=-1,
        filter_subject=subjects(address),
    )
    try:
        theirs = (await context.consumer_info(stream, address.group)).config
    except NotFoundError:
        await context.add_consumer(stream, ours)
        return
    name = f"consumer {address.group!r} of stream {stream!r}"
    cure = "delete it, or use another ?group="
    if theirs.deliver_subject:
        raise Unfit(f"{name} is a push consumer, from which nobody can pull: {cure}")
    if theirs.ack_policy != AckPolicy.EXPLICIT:
        policy = getattr(theirs.ack_policy, "value", theirs.ack_policy)
        raise Unfit(f"{name} has ack policy {policy!r}, which may lose events, instead of 'explicit': {cure}")
    if theirs.max_deliver is not None and theirs.max_deliver > 0:
        log.warning("%s loses what was not acknowledged %d times: edit it (--max-deliver=-1)", name, theirs.max_deliver)
    if theirs.filter_subject not in (None, "", ours.filter_subject):
        log.warning("%s brings %s alone, not all of %s", name, theirs.filter_subject, ours.filter_subject)
    if theirs.ack_wait is not None and theirs.ack_wait != ours.ack_wait:
        log.warning("%s redelivers after %g s, whatever ?redeliver= says (%g s)", name, theirs.ack_wait, ours.ack_wait)


async def _new_stream(context: JetStreamContext, address: Address, name: str) -> str:
    config = StreamConfig(name=name, subjects=[subjects(address)], max_msgs=address.number("maxlen", _MAX_LENGTH))
    try:
        await context.add_stream(config)
    except BadRequestError:  # perhaps another stream has these subjects already
        if other := await _of_our_subjects(context, address):
            return other
        raise
    return name


async def _of_our_subjects(context: JetStreamContext, address: Address) -> str:
    try:
        return await context.find_stream_name_by_subject(subjects(address))
    except NotFoundError:
        return ""


def _overlap(left: list[str], right: list[str]) -> bool:
    """Whether there is a subject that both patterns match."""
    if not left or not right:
        return not left and not right
    if ">" in (left[0], right[0]):
        return True
    return (left[0] == right[0] or "*" in (left[0], right[0])) and _overlap(left[1:], right[1:])
