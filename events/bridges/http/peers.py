"""Who has how many connections: one client must not use up those of all."""

import ipaddress
import threading
from collections import Counter
from contextlib import suppress


class Slots:
    """So many connections, and no more than `per_peer` for one peer. Safe for threads."""

    def __init__(self, most: int, per_peer: int) -> None:
        self._most, self._per_peer = most, per_peer
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, peer: str) -> str:
        """One more is open; or else why that may not be."""
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
        """It is closed."""
        with self._lock:
            self._taken[peer] -= 1
            if not self._taken[peer]:
                del self._taken[peer]


def peer_of(address: str) -> str:
    """Who is behind it: an IPv4 address, or a network of IPv6, of which one client may have all addresses."""
    with suppress(ValueError):
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped is not None:
                return str(found.ipv4_mapped)
            return str(ipaddress.ip_network((found, 64), strict=False))
    return address
