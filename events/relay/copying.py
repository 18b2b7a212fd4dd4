"""Copies of dead letters for the broker, where people may look for them. The ledger has them in any case."""

import logging
from collections.abc import Sequence

from events.errors import TransportError, Unsendable
from events.ledger import DeadLetter, Recovery, Subscriptions, masked_letters
from events.relay.transport import Transport
from events.throttle import Throttle

log = logging.getLogger("events.relay")


class Copying:
    """Used by one relay, in one thread.

    Args:
        batch: so many dead letters at once.
        throttle: for a broker that is away.
    """

    def __init__(
        self, *, recovery: Recovery, subscriptions: Subscriptions, transport: Transport, batch: int, throttle: Throttle
    ) -> None:
        self._recovery = recovery
        self._subscriptions = subscriptions
        self._transport = transport
        self._batch = batch
        self._throttle = throttle

    def copy_all(self) -> None:
        """Give the broker all dead letters of which it has no copy; later, if it is away."""
        while letters := self._recovery.take_uncopied(self._batch):
            if not self._copy(letters):
                return

    def _copy(self, letters: Sequence[DeadLetter]) -> bool:
        """Whether the broker has them, or never will: they are in the ledger all the same, and hold up no others."""
        try:
            self._transport.send_dead(masked_letters(letters, self._subscriptions.masked()))
        except Unsendable as error:
            if len(letters) > 1:
                copied = [self._copy([letter]) for letter in letters]
                return all(copied)
            log.error("the broker can't hold a copy of dead letter %s of %s: %s", letters[0].event_id,
                      letters[0].handler, error)  # fmt: skip
        except TransportError as error:
            self._throttle.warn(str(error))
            return False
        self._recovery.mark_copied(letters)
        return True
