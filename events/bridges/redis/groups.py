"""Looks after consumer groups of Redis Streams: makes them, removes dead consumers, and warns of lost entries."""

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import redis

from events.bridges.address import Address
from events.throttle import Throttle

log = logging.getLogger("events.bridges")

_DEAD_AFTER = 3600.0  # seconds; Redis makes a consumer that only slept anew when it reads again

# In one step: else entries that the consumer takes in between would be removed with it.
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
    """The consumer group of a bridge, on all its streams."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._told: dict[str, int] = {}  # by stream: the number of entries cut off unread that was logged
        self._throttle = Throttle(log)

    def look_after(self, connection: redis.Redis, wanted: Sequence[str], known: Collection[str]) -> list[str]:
        """Make the group on all streams, where it is missing. Returns the wanted streams that can be read.

        A stream can't be read if it is another type of value, or if we have no permission; the others are read then.

        Args:
            wanted: the streams to read.
            known: the streams that had the group last time.
        Raises:
            ResponseError: none of the wanted streams can be read.
        """
        refused = {}
        for stream in wanted:
            if stream in known:
                continue
            try:
                connection.xgroup_create(stream, self._address.group, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):  # BUSYGROUP: the group is there
                    refused[stream] = error
        if refused and len(refused) == len(wanted):
            raise next(iter(refused.values()))
        for stream, why in refused.items():
            self._throttle.warn(f"bridge {self._address.name} can't read {stream}: {type(why).__name__}: {why}")
        readable = [stream for stream in wanted if stream not in refused]
        for stream in readable:
            if stream not in known:
                self._forget_dead(connection, stream)
            self._tell_of_cut(connection, stream)
        return readable

    def _forget_dead(self, connection: redis.Redis, stream: str) -> None:
        """Remove consumers that hold no entries and have not read for long: each kill -9 leaves such a consumer."""
        with suppress(redis.ResponseError):  # no permission, or the stream is gone: reading goes on
            connection.eval(_FORGET_DEAD, 1, stream, self._address.group, int(_DEAD_AFTER * 1000))

    def _tell_of_cut(self, connection: redis.Redis, stream: str) -> None:
        cut, group = 0, self._address.group
        with suppress(redis.ResponseError):
            cut = _cut_unread(connection, stream, group)
        if cut > self._told.get(stream, 0):
            self._told[stream] = cut
            log.warning(
                "bridge %s: about %d entries of %s were cut off before group %s had read them: its senders need a "
                "larger ?maxlen=",
                self._address.name,
                cut,
                stream,
                group,
            )


def _cut_unread(connection: redis.Redis, stream: str, group: str) -> int:
    """About how many entries are gone that the group has not read; 0 if Redis can't say, as Redis 6."""
    info: dict[str, Any] = connection.xinfo_stream(stream)
    groups: list[dict[str, Any]] = connection.xinfo_groups(stream)
    ours = next((row for row in groups if row["name"] == group.encode()), {})
    first, read = info.get("first-entry"), ours.get("entries-read")
    if not first or read is None or _place(first[0]) <= _place(ours["last-delivered-id"]):
        return 0  # the entry read last is still there, so no later entry is missing
    return max(0, int(info.get("entries-added", 0)) - int(info["length"]) - int(read))


def _place(entry: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in entry.split(b"-"))
