"""What has to be there on a JetStream server: a stream with our subjects, and the durable consumer of a group.

What is missing is made. What somebody else has made is used as it is, unless that would lose events.
"""

import logging

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from events.bridges.address import Address, wrong

log = logging.getLogger("events.bridges")

_MAX_LENGTH = 1_000_000


class Unfit(nats.errors.Error):
    """What is there can't be used; the message says what to do."""


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
    """The name of the stream that takes our subjects, made if there is none. Raises Unfit."""
    context = client.jetstream(timeout=address.timeout)
    name = stream_name(address)
    try:
        found = (await context.stream_info(name)).config
    except NotFoundError:
        return await _new_stream(context, address, name)
    if not any(_overlap(one.split("."), subjects(address).split(".")) for one in found.subjects or ()):
        if other := await _of_our_subjects(context, address):
            return other
        raise Unfit(
            f"stream {name!r} has the subjects {', '.join(found.subjects or ()) or '(none)'}: add {subjects(address)} "
            f"to it, or name another by ?stream="
        )
    if found.no_ack:
        raise Unfit(f"stream {name!r} acknowledges nothing, so that events may be lost: edit it (--ack)")
    return name


async def make_consumer(client: Client, address: Address, stream: str) -> None:
    """The durable consumer, named after the group, made if there is none. Raises Unfit for one of no use."""
    context = client.jetstream(timeout=address.timeout)
    ours = ConsumerConfig(
        durable_name=address.group, ack_policy=AckPolicy.EXPLICIT, ack_wait=address.redeliver,
        max_deliver=-1, filter_subject=subjects(address),
    )  # fmt: skip
    try:
        found = (await context.consumer_info(stream, address.group)).config
    except NotFoundError:
        await context.add_consumer(stream, ours)
        return
    name = f"consumer {address.group!r} of stream {stream!r}"
    cure = "delete it, or use another ?group="
    if found.deliver_subject:
        raise Unfit(f"{name} is a push consumer, from which nobody can pull: {cure}")
    if found.ack_policy != AckPolicy.EXPLICIT:
        policy = getattr(found.ack_policy, "value", found.ack_policy)
        raise Unfit(f"{name} has ack policy {policy!r}, which may lose events, instead of 'explicit': {cure}")
    if found.max_deliver is not None and found.max_deliver > 0:
        log.warning("%s loses what was not acknowledged %d times: edit it (--max-deliver=-1)", name, found.max_deliver)
    if found.filter_subject not in (None, "", ours.filter_subject):
        log.warning("%s brings %s alone, not all of %s", name, found.filter_subject, ours.filter_subject)
    if found.ack_wait is not None and found.ack_wait != ours.ack_wait:
        log.warning("%s redelivers after %g s, whatever ?redeliver= says (%g s)", name, found.ack_wait, ours.ack_wait)


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


def _overlap(one: list[str], other: list[str]) -> bool:
    """Whether there is a subject that both patterns match."""
    if not one or not other:
        return not one and not other
    if ">" in (one[0], other[0]):
        return True
    return (one[0] == other[0] or "*" in (one[0], other[0])) and _overlap(one[1:], other[1:])
