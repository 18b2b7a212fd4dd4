"""Dead letters: deliveries that were given up. Look at them, alone or by what they have in common; replay, discard."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Literal
from uuid import UUID

from events.errors import NoSuchDeadLetter
from events.ledger import DeadLetter, DeadLetterBox, DeadLetterFilter, FailureGroup, Survey, masked_letters

BATCH = 200  # letters in one transaction: whoever stops it loses nothing of what is done
RESTORED = 2000  # and of those that were discarded, for which nobody waits, and which no index finds

Progress = Callable[[int, int], None]
ALL = DeadLetterFilter()


class DeadLetters:
    """What an operator does with dead letters, whatever the face: command line, web page or code.

    Every action has an actor, who stands in the event's history. What is no longer dead is left alone, so that an
    action that two operators take, or that is clicked twice, happens once. What events' classes mask is hidden.
    """

    def __init__(self, box: DeadLetterBox, masked: Callable[[], Mapping[str, Collection[str]]]) -> None:
        self._box = box
        self._masked = masked

    def find(self, wanted: DeadLetterFilter = ALL) -> list[DeadLetter]:
        """Newest first, 50 of them if the filter sets no limit."""
        return masked_letters(
            self._box.find(wanted if wanted.limit is not None else replace(wanted, limit=50)), self._masked()
        )

    def count(self, wanted: DeadLetterFilter = ALL) -> int:
        return self._box.count(wanted)

    def groups(self, wanted: DeadLetterFilter = ALL) -> list[FailureGroup]:
        """Of those that match: what failed alike, the most numerous first."""
        return self._box.groups(wanted)

    def survey(self, wanted: DeadLetterFilter = ALL, *, grouped: bool = True) -> Survey:
        """The newest, as many as the filter's limit says, or 50; and the groups and the number of all, at one moment.

        Args:
            grouped: without groups it is cheap, however many there are.
        """
        found = self._box.survey(wanted if wanted.limit is not None else replace(wanted, limit=50), grouped=grouped)
        return replace(found, letters=masked_letters(found.letters, self._masked()))

    def of_group(self, key: str, wanted: DeadLetterFilter = ALL) -> DeadLetterFilter:
        """The same filter, for one group only. Raises NoSuchDeadLetter."""
        for group in self._box.groups(replace(wanted, limit=None)):
            if group.key == key:
                return replace(wanted, handler=group.handler, error_type=group.error_type, place=group.place)
        what, more = ("discarded delivery", " --discarded") if wanted.discarded else ("dead letter", "")
        raise NoSuchDeadLetter(f"no {what} is of group {key!r} (any more); `events dead groups{more}` shows all")

    def show(self, event_id: UUID, handler: str | None = None) -> list[DeadLetter]:
        """The dead letters of one event, of all its handlers or one. Raises NoSuchDeadLetter."""
        found = self._box.find(DeadLetterFilter(event_ids=(event_id,), handler=handler))
        if not found:
            found = self._box.find(DeadLetterFilter(event_ids=(event_id,), handler=handler, discarded=True))
        if not found:
            of = f" of handler {handler!r}" if handler else ""
            raise NoSuchDeadLetter(f"event {event_id} has no dead letter{of}; `events dead list` shows what there is")
        return masked_letters(found, self._masked())

    def replay(
        self, wanted: DeadLetterFilter, actor: str, *, rate: float | None = None, progress: Progress | None = None
    ) -> int:
        """Make them due again with all their attempts, the oldest first; how many.

        Args:
            rate: at most so many a second.
            progress: is told how many are done, and of how many.
        """
        return self._by_batches("replay", replace(wanted, discarded=False), actor, rate, progress)

    def discard(self, wanted: DeadLetterFilter, actor: str, *, progress: Progress | None = None) -> int:
        """Give them up; how many. Their rows stay, in state `discarded`, until they are pruned: see `restore`."""
        return self._by_batches("discard", replace(wanted, discarded=False), actor, None, progress)

    def restore(self, wanted: DeadLetterFilter, actor: str, *, progress: Progress | None = None) -> int:
        """What was discarded is a dead letter again; how many. Not what `edit` discarded: its copy took its place."""
        return self._by_batches("restore", replace(wanted, discarded=True), actor, None, progress)

    def _by_batches(
        self,
        action: Literal["replay", "discard", "restore"],
        wanted: DeadLetterFilter,
        actor: str,
        rate: float | None,
        progress: Progress | None,
    ) -> int:
        """No more than there were at first: what dies again meanwhile is not replayed again and again."""
        act = {"replay": self._box.replay, "discard": self._box.discard, "restore": self._box.restore}[action]
        total, done, begun = self._box.count(wanted), 0, time.monotonic()
        most = RESTORED if action == "restore" else BATCH
        size = most if rate is None else max(1, min(most, int(rate / 5)))
        while done < total:
            count = act(replace(wanted, limit=min(size, total - done)), actor)
            done += count
            if progress is not None:
                progress(done, total)
            if count == 0 and not self._box.count(wanted):  # else another operator was quicker with these
                break
            if rate is not None and done < total:
                time.sleep(max(0.0, begun + done / rate - time.monotonic()))
        return done
