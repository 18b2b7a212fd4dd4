"""Bridges: each URL makes sense, its server answers, and there are events to forward. The check sends nothing."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from events.bridges import Address, Bridge, forwarded, opened
from events.diagnosis.findings import Finding, error, ok, warning
from events.errors import ConfigurationError
from events.event import all_events
from events.pipeline import Pipeline
from events.text import plural


def bridges(pipeline: Pipeline) -> list[Finding]:
    try:
        configured = opened(pipeline.settings)
    except ConfigurationError as wrong:
        return [error("bridges", str(wrong), "mend EVENTS_BRIDGES: no worker starts until then")]
    return [finding for address, bridge in configured for finding in _examined(address, bridge)]


def _examined(address: Address, bridge: Bridge) -> Iterator[Finding]:
    check = f"bridge {address.name}"
    count = sum(forwarded(event, address.forward) for event in all_events()) if address.outbound else 0
    does = [f"forwards {plural(count, 'event type')}"] if address.outbound else []
    does += ["receives"] if address.inbound else []
    if address.inbound and bridge.features.direct:  # the bridge listens itself
        yield ok(check, f"{address.url}: receives")
        return
    if why := _unreachable(address, bridge.schemes[address.scheme].port):
        cure = "start the server, or mend the URL in EVENTS_BRIDGES; events to forward wait in the ledger"
        yield error(check, f"{address.url}: {why}", cure)
    else:
        yield ok(check, f"{address.url} is reachable; {', '.join(does)}")
    if address.outbound and not count:
        cure = "make an event an IntegrationEvent, name events in EVENTS_FORWARD, or check EVENTS_HANDLERS"
        why = "EVENTS_HANDLERS defines no public event, and no event that EVENTS_FORWARD or the URL names"
        yield warning(check, f"the bridge forwards nothing: {why}", cure)


def _unreachable(address: Address, default: int | None) -> str:
    """Why no server of the bridge takes a connection; "" if a server does, or if the bridge names no default port.

    Args:
        default: the port of servers whose port the URL doesn't name; None if the bridge names no default port.
    """
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
