"""Counts the connections of each client, so that one client can't use up all of them."""

import ipaddress
import threading
from collections import Counter
from contextlib import suppress


class Slots:
    """Allows `most` connections, and `per_peer` connections of one peer. Safe for threads."""

    def __init__(self, most: int, per_peer: int) -> None:
        self._most, self._per_peer = most, per_peer
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, peer: str) -> str:
        """Count a new connection. Returns "", or why the connection must be refused."""
        with self._lock:
            if self._taken.total() >= self._most:
                return f"{self._most} connections are open, and more are refused"
            if self._taken[peer] >= self._per_peer:
                return (
                    f"{self._per_peer} connections of {peer} are open, and more of it are refused; "
                    f"if that is a proxy, raise ?per_peer="
                )
            self._taken[peer] += 1
            return ""

    def give_back(self, peer: str) -> None:
        """Count a connection as closed."""
        with self._lock:
            self._taken[peer] -= 1
            if not self._taken[peer]:
                del self._taken[peer]


def peer_of(address: str) -> str:
    """The client of an address: an IPv4 address, or the IPv6 network whose addresses one client may have."""
    with suppress(ValueError):
        parsed = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(parsed, ipaddress.IPv6Address):
            if parsed.ipv4_mapped is not None:
                return str(parsed.ipv4_mapped)
            return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
