"""Bridges: each URL makes sense, somebody answers there, and there is something to forward. Sends nothing."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from events.bridges import Address, Bridge, forwarded, opened
from events.diagnosis.findings import Finding, error, ok, warning
from events.errors import ConfigurationError
from events.event import all_events
from events.pipeline import Pipeline


def bridges(pipeline: Pipeline) -> list[Finding]:
    try:
        found = opened(pipeline.settings)
    except ConfigurationError as wrong:
        return [error("bridges", str(wrong), "mend EVENTS_BRIDGES: without it no worker starts")]
    return [finding for address, bridge in found for finding in _examined(address, bridge)]


def _examined(address: Address, bridge: Bridge) -> Iterator[Finding]:
    check = f"bridge {address.name}"
    count = sum(forwarded(event, address.forward) for event in all_events()) if address.outbound else 0
    does = [f"forwards {count} event types"] if address.outbound else []
    does += ["receives"] if address.inbound else []
    if address.inbound and bridge.features.direct:  # there is no server but ours
        yield ok(check, f"{address.url}: receives")
        return
    if why := _unreachable(address, bridge.schemes[address.scheme].port):
        cure = "start it, or mend its URL in EVENTS_BRIDGES; what it forwards waits in the ledger"
        yield error(check, f"{address.url}: {why}", cure)
    else:
        yield ok(check, f"{address.url} is reachable; {', '.join(does)}")
    if address.outbound and not count:
        cure = "make an event an IntegrationEvent, name some in EVENTS_FORWARD, or check EVENTS_HANDLERS"
        yield warning(check, "forwards nothing: no event here is public, or named", cure)


def _unreachable(address: Address, default: int | None) -> str:
    """Why none of its servers takes a connection; "" if one does, or if the bridge can't say where they listen.

    Args:
        default: the port of servers whose port the URL doesn't name; None if the bridge says none.
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
