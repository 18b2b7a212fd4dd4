"""Consumer groups of Redis Streams: made, rid of consumers that are dead, and asked what was cut off unread."""

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import redis

from events.bridges.address import Address
from events.throttle import Throttle

log = logging.getLogger("events.bridges")

_DEAD_AFTER = 3600.0  # seconds; one that only sleeps, and had nothing in hand, is made anew when it reads again

# In one step: what a consumer takes in between would go with it.
_FORGET_DEAD = """
for _, found in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for at = 1, #found, 2 do consumer[found[at]] = found[at + 1] end
  if consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
  end
end
"""


class Groups:
    """The group of an address, on all its streams."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._told: dict[str, int] = {}  # entries that were cut off a stream unread, as far as that was said
        self._throttle = Throttle(log)

    def look_after(self, connection: redis.Redis, wanted: Sequence[str], known: Collection[str]) -> list[str]:
        """The streams that can be read, of those that are wanted; `known`: those that were there last time.

        One that can't be read, because it is of another type or we may not, is no reason to read none of the others.

        Raises:
            ResponseError: none of them can be read.
        """
        refused = {}
        for stream in wanted:
            if stream in known:
                continue
            try:
                connection.xgroup_create(stream, self._address.group, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):  # which says that it is there
                    refused[stream] = error
        if refused and len(refused) == len(wanted):
            raise next(iter(refused.values()))
        for stream, why in refused.items():
            self._throttle.warn(f"bridge {self._address.name} can't read {stream}: {type(why).__name__}: {why}")
        found = [stream for stream in wanted if stream not in refused]
        for stream in found:
            if stream not in known:
                self._forget_dead(connection, stream)
            self._tell_of_cut(connection, stream)
        return found

    def _forget_dead(self, connection: redis.Redis, stream: str) -> None:
        """Remove consumers that have nothing in hand and have not asked for long: each kill -9 leaves one."""
        with suppress(redis.ResponseError):  # we may not, or the stream is gone: neither is in the way of reading
            connection.eval(_FORGET_DEAD, 1, stream, self._address.group, int(_DEAD_AFTER * 1000))

    def _tell_of_cut(self, connection: redis.Redis, stream: str) -> None:
        cut, group = 0, self._address.group
        with suppress(redis.ResponseError):
            cut = _cut_unread(connection, stream, group)
        if cut > self._told.get(stream, 0):
            self._told[stream] = cut
            log.warning(
                "bridge %s: about %d entries of %s were cut off before group %s had read them: its senders need a "
                "larger ?maxlen=", self._address.name, cut, stream, group)  # fmt: skip


def _cut_unread(connection: redis.Redis, stream: str, group: str) -> int:
    """About how many entries are gone that the group has not read; 0 where Redis (6) can't say."""
    about: dict[str, Any] = connection.xinfo_stream(stream)
    groups: list[dict[str, Any]] = connection.xinfo_groups(stream)
    ours = next((one for one in groups if one["name"] == group.encode()), {})
    first, read = about.get("first-entry"), ours.get("entries-read")
    if not first or read is None or _place(first[0]) <= _place(ours["last-delivered-id"]):
        return 0  # what was read last is still there, so nothing behind it can be missing
    return max(0, int(about.get("entries-added", 0)) - int(about["length"]) - int(read))


def _place(entry: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in entry.split(b"-"))
