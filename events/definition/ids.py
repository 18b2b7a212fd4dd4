"""The ids that events get when they are made."""

import os
import threading
import time
from uuid import UUID

_uuid_lock = threading.Lock()
_last_uuid_ns = 0


def uuid7() -> UUID:
    """A time-ordered UUID (RFC 9562, version 7): 48 bits of milliseconds, 12 bits below them, 62 random bits.

    The 12 bits hold the fraction of the millisecond and grow strictly within a process (RFC 9562, 6.2, method 3).
    """
    global _last_uuid_ns
    with _uuid_lock:
        tick = 250  # about one step of the 12-bit fraction of a millisecond, in ns
        now = max(time.time_ns(), _last_uuid_ns + tick)
        _last_uuid_ns = now
    milliseconds, rest = divmod(now, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    noise = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | noise)
