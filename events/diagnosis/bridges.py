"""Bridges: each URL makes sense, its server answers, and there are events to forward. The check sends nothing."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from events.bridges import Address, forwarded, opened
from events.diagnosis.findings import Finding, error, ok, warning
from events.errors import ConfigurationError
from events.event import all_events
from events.pipeline import Pipeline
from events.text import plural

_PORTS = {
    "redis": 6379,
    "rediss": 6379,
    "nats": 4222,
    "kafka": 9092,
    "rabbitmq": 5672,
    "rabbitmqs": 5671,
    "http": 80,
    "https": 443,
}


def bridges(pipeline: Pipeline) -> list[Finding]:
    try:
        configured = opened(pipeline.settings)
    except ConfigurationError as wrong:
        return [error("bridges", str(wrong), "mend EVENTS_BRIDGES: no worker starts until then")]
    return [finding for address, _ in configured for finding in _examined(address)]


def _examined(address: Address) -> Iterator[Finding]:
    check = f"bridge {address.name}"
    count = sum(forwarded(event, address.forward) for event in all_events()) if address.outbound else 0
    does = [f"forwards {plural(count, 'event type')}"] if address.outbound else []
    does += ["receives"] if address.inbound else []
    if address.inbound and address.scheme == "http":  # the bridge listens itself
        yield ok(check, f"{address.url}: receives")
        return
    if why := _unreachable(address):
        cure = "start the server, or mend the URL in EVENTS_BRIDGES; events to forward wait in the ledger"
        yield error(check, f"{address.url}: {why}", cure)
    else:
        yield ok(check, f"{address.url} is reachable; {', '.join(does)}")
    if address.outbound and not count:
        cure = "make an event an IntegrationEvent, name events in EVENTS_FORWARD, or check EVENTS_HANDLERS"
        why = "EVENTS_HANDLERS defines no public event, and no event that EVENTS_FORWARD or the URL names"
        yield warning(check, f"the bridge forwards nothing: {why}", cure)


def _unreachable(address: Address) -> str:
    """Why no server of the bridge takes a connection; "" if a server does, or if another package made the bridge."""
    default = _PORTS.get(address.scheme.partition("+")[0])
    if default is None:
        return ""
    reasons = []
    for place in urlsplit(address.url).netloc.rpartition("@")[2].split(","):
        try:
            parts = urlsplit(f"//{place}")
            with socket.create_connection((parts.hostname or "", parts.port or default), address.timeout):
                return ""
        except (OSError, ValueError) as reason:
            reasons.append(f"{place}: {reason}")
    return "; ".join(reasons)
