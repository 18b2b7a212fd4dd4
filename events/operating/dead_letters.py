"""Shows dead letters, which are deliveries that were given up, one by one or in groups; replays and discards them."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Literal
from uuid import UUID

from events.errors import NoSuchDeadLetter
from events.ledger import DeadLetter, DeadLetterBox, DeadLetterFilter, FailureGroup, Survey, masked_letters

BATCH = 200  # dead letters in one transaction: an operator who stops the action loses nothing that is done
RESTORED = 2000  # discarded ones in one transaction: no worker waits for their locks, and each search reads all rows

Progress = Callable[[int, int], None]
ALL = DeadLetterFilter()


class DeadLetters:
    """An operator's actions on dead letters, for the command line, web pages and code.

    Every action has an actor, who is named in the event's history. Deliveries that are no longer dead are left alone,
    so an action that two operators take, or that is clicked twice, happens once. Masked fields are hidden.

    Args:
        box: the part of the ledger that holds the dead letters.
        masked: see events.ledger.Subscriptions.
    """

    def __init__(self, box: DeadLetterBox, masked: Callable[[], Mapping[str, Collection[str]]]) -> None:
        self._box = box
        self._masked = masked

    def find(self, wanted: DeadLetterFilter = ALL) -> list[DeadLetter]:
        """The matching dead letters, newest first; 50 of them if the filter sets no limit."""
        return masked_letters(
            self._box.find(wanted if wanted.limit is not None else replace(wanted, limit=50)), self._masked()
        )

    def count(self, wanted: DeadLetterFilter = ALL) -> int:
        """The number of matching dead letters."""
        return self._box.count(wanted)

    def groups(self, wanted: DeadLetterFilter = ALL) -> list[FailureGroup]:
        """The matching dead letters in groups of those that failed alike, the largest group first."""
        return self._box.groups(wanted)

    def survey(self, wanted: DeadLetterFilter = ALL, *, grouped: bool = True) -> Survey:
        """The newest matching dead letters, and the groups and the number of all, at one moment.

        The filter's limit bounds the letters; without one they are 50.

        Args:
            grouped: whether groups are wanted. Without them a survey is cheap, however many dead letters there are.
        """
        survey = self._box.survey(wanted if wanted.limit is not None else replace(wanted, limit=50), grouped=grouped)
        return replace(survey, letters=masked_letters(survey.letters, self._masked()))

    def of_group(self, key: str, wanted: DeadLetterFilter = ALL) -> DeadLetterFilter:
        """The same filter, for one group only. Raises NoSuchDeadLetter if there is no such group."""
        for group in self._box.groups(replace(wanted, limit=None)):
            if group.key == key:
                return replace(wanted, handler=group.handler, error_type=group.error_type, place=group.place)
        kind, option = ("discarded delivery", " --discarded") if wanted.discarded else ("dead letter", "")
        raise NoSuchDeadLetter(f"no {kind} is in group {key!r} (any more); `events dead groups{option}` shows all")

    def show(self, event_id: UUID, handler: str | None = None) -> list[DeadLetter]:
        """The dead letters of one event, or of one event and handler; the discarded ones if there are no others.

        Raises NoSuchDeadLetter.
        """
        letters = self._box.find(DeadLetterFilter(event_ids=(event_id,), handler=handler))
        if not letters:
            letters = self._box.find(DeadLetterFilter(event_ids=(event_id,), handler=handler, discarded=True))
        if not letters:
            of = f" of handler {handler!r}" if handler else ""
            raise NoSuchDeadLetter(
                f"event {event_id} has no dead letter{of}; `events dead list` shows all dead letters"
            )
        return masked_letters(letters, self._masked())

    def replay(
        self, wanted: DeadLetterFilter, actor: str, *, rate: float | None = None, progress: Progress | None = None
    ) -> int:
        """Make the matching dead letters due again with all their attempts, the oldest first. Returns how many.

        Args:
            rate: the number of dead letters a second, at most; None for any number.
            progress: is called with the number that is done, and the number of all.
        """
        return self._by_batches("replay", replace(wanted, discarded=False), actor, rate, progress)

    def discard(self, wanted: DeadLetterFilter, actor: str, *, progress: Progress | None = None) -> int:
        """Give the matching dead letters up. Returns how many.

        Their rows stay, in state `discarded`, until they are pruned: see `restore`.
        """
        return self._by_batches("discard", replace(wanted, discarded=False), actor, None, progress)

    def restore(self, wanted: DeadLetterFilter, actor: str, *, progress: Progress | None = None) -> int:
        """Make the matching discarded deliveries dead letters again. Returns how many.

        Deliveries that `edit` discarded stay so, as a corrected copy took their place.
        """
        return self._by_batches("restore", replace(wanted, discarded=True), actor, None, progress)

    def _by_batches(
        self,
        action: Literal["replay", "discard", "restore"],
        wanted: DeadLetterFilter,
        actor: str,
        rate: float | None,
        progress: Progress | None,
    ) -> int:
        """Act on as many as there were at first, so that a delivery that dies again isn't replayed again and again."""
        act = {"replay": self._box.replay, "discard": self._box.discard, "restore": self._box.restore}[action]
        total, done, begun = self._box.count(wanted), 0, time.monotonic()
        most = RESTORED if action == "restore" else BATCH
        size = most if rate is None else max(1, min(most, int(rate / 5)))
        while done < total:
            count = act(replace(wanted, limit=min(size, total - done)), actor)
            done += count
            if progress is not None:
                progress(done, total)
            if count == 0 and not self._box.count(wanted):  # with some left, another operator took this batch
                break
            if rate is not None and done < total:
                time.sleep(max(0.0, begun + done / rate - time.monotonic()))
        return done
