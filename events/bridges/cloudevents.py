"""Events as other services read and write them: JSON, and the attributes of CloudEvents 1.0.

The flat form is the default. Its body holds the event's own fields, and `eventId, eventType, aggregateId,
dateTimeOccurred, timestamp`; if the event has a field of such a name, the body holds the field. CloudEvents attributes
stand in the headers of the protocol (binary mode). In the structured form the body is one CloudEvent, whose `data`
holds the event's own fields.

Messages that come in may have either form, or that of another program: all names above are read, attributes first.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from events.bridges.arrival import Arrival, OwnEvent
from events.bridges.contract import KEY, Message, Received
from events.bridges.forms import (
    FLAT_NAMES,
    SEALED,
    STRUCTURED,
    TOO_LARGE,
    UNREADABLE,
    WRONG,
    Form,
    check_words,
    first_word,
    form_of,
    sealed_in,
)
from events.bridges.times import time_of
from events.errors import EventDataError, NewerEvent, Unacceptable
from events.event import MAX_NAME, RESERVED, DomainEvent, aggregate_of, event_named, keys
from events.ledger import (
    CAUSE_SENT_AS,
    NUL,
    SENT_AS,
    Envelope,
    decode,
    former_id,
    merged,
    object_of,
    placed_id,
    received_id,
    sender_of,
    without,
)
from events.ledger import KEY as MASKED
from events.text import storable
from events.tracing import HEADERS, carried

FLAT, STRUCTURED_FORM, WEBHOOK = "flat", "structured", "webhook"  # values of `?format=`
FORWARDER = "forwardedby"  # an attribute: the service that forwards an event of another service
_EXCLUDED = set(RESERVED)


def outgoing(
    event: DomainEvent, source: str, *, form: str = FLAT, masked: bool = False, sealed: bool = False
) -> Message:
    """The message of an event. An event of another service keeps its source and its id.

    Args:
        source: the name of this service.
        form: FLAT, STRUCTURED_FORM or WEBHOOK.
        masked: whether masked fields are sent, too; else they are left out.
        sealed: whether only the body is signed, and can be trusted: the body then also says the attributes.
    """
    data = event.model_dump_json(exclude=_EXCLUDED, round_trip=True)
    if event.masked_fields and not masked:
        data = without(data, event.masked_fields)
    attributes, trace = _attributes(event, source), carried(event.metadata)
    message = partial(
        Message, str(event.event_id), event.event_name, attributes.get("subject", ""), occurred_at=event.occurred_at
    )
    if form == STRUCTURED_FORM:
        said = attributes | trace | {"datacontenttype": "application/json"}
        return message(_around(data, said), STRUCTURED)
    if form == WEBHOOK:
        said = {name: value for name, value in attributes.items() if name not in ("specversion", "time")}
        return message(_around(data, said | {"timestamp": attributes["time"]}), attributes=attributes, trace=trace)
    when = attributes["time"]
    subject = attributes.get("subject", "")
    ours = dict(zip(FLAT_NAMES, (attributes["id"], event.event_name, subject, when, when), strict=True))
    if sealed:
        ours |= {name: attributes[plain] for name, plain in SEALED.items() if plain in attributes}
    own = keys(type(event))
    ours = {name: value for name, value in ours.items() if name not in own}
    body = merged(data, json.dumps(ours, ensure_ascii=False))
    return message(body.encode(), attributes=attributes, trace=trace)


def _around(data: str, said: Mapping[str, str]) -> bytes:
    """The JSON object with these members and, as the member `data`, the data."""
    return merged(json.dumps(said, ensure_ascii=False), object_of({"data": data})).encode()


def _attributes(event: DomainEvent, source: str) -> dict[str, str]:
    """The attributes of CloudEvents 1.0."""
    extra = event.metadata.model_extra or {}
    sender = sender_of(event.event_id, extra)
    origin, sent_as = sender or (source, str(event.event_id))
    attributes = {
        "specversion": "1.0",
        "id": sent_as,
        "source": origin,
        "type": event.event_name,
        "time": event.occurred_at.isoformat().replace("+00:00", "Z"),
        "schemaversion": str(event.schema_version),
    }
    if aggregate_id := aggregate_of(event):
        attributes["subject"] = aggregate_id
    if event.metadata.correlation_id:
        attributes["correlationid"] = event.metadata.correlation_id
    if event.metadata.causation_id:
        attributes["causationid"] = str(extra.get(CAUSE_SENT_AS) or event.metadata.causation_id)
    if sender is not None:
        attributes[FORWARDER] = source
    return attributes


def incoming(
    received: Received, bridge: str, admit: Callable[[str], None], max_bytes: int, own_source: str = ""
) -> Arrival:
    """The row of a message.

    The id of the row is made of the event's source and its id there; without such an id, of the message's place and
    position; without a position, it is random. So a message that comes again has the same id, except in the last case.

    Args:
        admit: raises Unacceptable for event types that may not come in.
        max_bytes: the largest data that an event may have, in bytes.
        own_source: the name of this service; "" if it has none.
    Raises:
        Unacceptable: the message is no event, is an event that may not come in, or has wrong data.
        OwnEvent: the source of the event is `own_source`.
    """
    try:
        return _envelope(received, bridge, admit, max_bytes, own_source)
    except (Unacceptable, OwnEvent):
        raise
    except Exception as error:  # an unforeseen error: else the message would come again and again, and fail each time
        raise Unacceptable(WRONG, f"{type(error).__name__}: {error}") from error


def _envelope(
    received: Received, bridge: str, admit: Callable[[str], None], max_bytes: int, own_source: str
) -> Arrival:
    form = form_of(received)
    event_type = _type_of(form, received)
    event_class = event_named(event_type)
    own = keys(event_class) if event_class is not None else ()
    said = {name: value for name, value in form.beside.items() if name not in own}
    attributes, data = {**sealed_in(said), **form.attributes}, form.data
    source = attributes.get("source") or f"{bridge}:{received.address}"
    if source == own_source:
        raise OwnEvent
    admit(event_type)
    check_words({name: value for name, value in said.items() if name in ("eventId", "aggregateId", *SEALED)})
    if FLAT_NAMES[0] in data:  # programs that change one form into the other leave these members there
        data = {name: value for name, value in data.items() if name in own or name not in (*FLAT_NAMES, *SEALED)}
    sent_as = first_word(attributes.get("id"), said.get("eventId"), received.headers.get("webhook-id"))
    if len(sent_as) > MAX_NAME:
        raise Unacceptable(WRONG, f"its id has {len(sent_as):,} characters, over {MAX_NAME}")
    times = (form.time, attributes.get("time"), said.get("dateTimeOccurred"), said.get("timestamp"))
    when = next((given for given in times if given is not None and given != ""), "")
    envelope = Envelope(
        id=_id(sent_as, source, received.position, f"{bridge}:{received.address}"),
        aggregate_id=first_word(attributes.get("subject"), said.get("aggregateId")),
        event_type=event_type,
        event_data=_text(data, max_bytes),
        version=1,
        timestamp=time_of(when),
        schema_version=_version(attributes.get("schemaversion", "1")),
        metadata="{}",
    )
    aggregate_id = envelope.aggregate_id
    if event_class is not None:
        try:
            aggregate_id = aggregate_of(decode(envelope)) or aggregate_id
        except NewerEvent:
            pass  # the row waits in the ledger for a worker with newer code
        except EventDataError as error:
            raise Unacceptable(WRONG, str(error)) from error
    if storable(aggregate_id) != aggregate_id or len(aggregate_id) > MAX_NAME:
        raise Unacceptable(WRONG, f"its aggregate id has more than {MAX_NAME} characters, or one that can't be stored")
    metadata = _metadata(envelope.id, attributes, received.headers, bridge, source)
    if sent_as:
        metadata[SENT_AS] = sent_as
    if event_class is not None and event_class.masked_fields:
        metadata[MASKED] = list(event_class.masked_fields)
    return Arrival(
        id=envelope.id,
        aggregate_id=aggregate_id,
        event_type=event_type,
        event_data=envelope.event_data,
        version=1,
        timestamp=envelope.timestamp,
        schema_version=envelope.schema_version,
        metadata=_text(metadata, max_bytes),
        timed=bool(when),
        source=source,
        former=former_id(source, sent_as) if sent_as else None,
        named=bool(attributes.get("source")),
        forwarded=FORWARDER in attributes,
        sent_as=sent_as,
    )


def _type_of(form: Form, received: Received) -> str:
    """The event type that an attribute says, or the body, or the address.

    If the event that the address names has a field `eventType`, the body says the field, and not the event type.
    """
    by_address = event_named(received.event_type)
    in_body = "" if by_address is not None and "eventType" in keys(by_address) else form.beside.get("eventType")
    if event_type := first_word(form.attributes.get("type"), in_body, received.event_type):
        return event_type
    raise Unacceptable(UNREADABLE, "nothing says which event it is: neither ce-type nor eventType")


def _metadata(
    event_id: UUID, attributes: Mapping[str, str], headers: Mapping[str, str], bridge: str, source: str
) -> dict[str, Any]:
    correlation_id = attributes.get("correlationid") or str(event_id)
    metadata: dict[str, Any] = {"correlation_id": correlation_id, KEY: bridge, "source": source}
    if causation := attributes.get("causationid"):
        metadata["causation_id"] = causation
    trace = {name: value for name in HEADERS if (value := headers.get(name) or attributes.get(name))}
    return metadata | (trace if "traceparent" in trace else {})


def _id(sent_as: str, source: str, position: str, place: str) -> UUID:
    if sent_as:
        return received_id(source, sent_as)
    return placed_id(place, position) if position else uuid4()


def _version(given: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", given):
        raise Unacceptable(WRONG, f"its schema version is no number above zero: {given[:100]!r}")
    return int(given)


def _text(value: Mapping[str, Any], max_bytes: int) -> str:
    """The JSON of a value, if every database can store it. Raises Unacceptable."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Unacceptable(WRONG, "it contains half a surrogate pair, which is no character") from None
    except ValueError:
        raise Unacceptable(WRONG, "it contains a number that is too large") from None
    if size > max_bytes:
        raise Unacceptable(TOO_LARGE, f"{size:,} bytes, over the limit of {max_bytes:,} (EVENTS_MAX_PAYLOAD_BYTES)")
    if NUL.search(text):
        raise Unacceptable(WRONG, "it contains a NUL character, which PostgreSQL can't store")
    return text
