"""Bridges: each URL makes sense, somebody answers there, and there is something to forward. Sends nothing."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from events.bridges import Address, forwarded, opened
from events.diagnosis.findings import Finding, error, ok, warning
from events.errors import ConfigurationError
from events.event import all_events
from events.pipeline import Pipeline

_PORTS = {"redis": 6379, "rediss": 6379, "nats": 4222, "kafka": 9092, "rabbitmq": 5672, "rabbitmqs": 5671,
          "http": 80, "https": 443}  # fmt: skip


def bridges(pipeline: Pipeline) -> list[Finding]:
    try:
        found = opened(pipeline.settings)
    except ConfigurationError as wrong:
        return [error("bridges", str(wrong), "mend EVENTS_BRIDGES: without it no worker starts")]
    return [finding for address, _ in found for finding in _examined(address)]


def _examined(address: Address) -> Iterator[Finding]:
    check = f"bridge {address.name}"
    count = sum(forwarded(event, address.forward) for event in all_events()) if address.outbound else 0
    does = [f"forwards {count} event types"] if address.outbound else []
    does += ["receives"] if address.inbound else []
    if address.inbound and address.scheme == "http":  # there is no server but ours
        yield ok(check, f"{address.url}: receives")
        return
    if why := _unreachable(address):
        cure = "start it, or mend its URL in EVENTS_BRIDGES; what it forwards waits in the ledger"
        yield error(check, f"{address.url}: {why}", cure)
    else:
        yield ok(check, f"{address.url} is reachable; {', '.join(does)}")
    if address.outbound and not count:
        cure = "make an event an IntegrationEvent, name some in EVENTS_FORWARD, or check EVENTS_HANDLERS"
        yield warning(check, "forwards nothing: no event here is public, or named", cure)


def _unreachable(address: Address) -> str:
    """Why none of its servers takes a connection; "" if one does. Kinds of other packages are not tried."""
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
