"""Gives the broker copies of dead letters, where people may look for them. The ledger keeps the dead letters anyway."""

import logging
from collections.abc import Sequence

from events.errors import TransportError, Unsendable
from events.ledger import DeadLetter, Recovery, Subscriptions, masked_letters
from events.relay.transport import Transport
from events.throttle import Throttle

log = logging.getLogger("events.relay")


class Copying:
    """Copies dead letters for one relay, in the relay's thread.

    Args:
        batch: the number of dead letters that are copied at once.
        throttle: limits the warnings about a broker that is away.
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
        """Give the broker a copy of each dead letter that has none. If the broker is away, a later call does."""
        while letters := self._recovery.take_uncopied(self._batch):
            if not self._copy(letters):
                return

    def _copy(self, letters: Sequence[DeadLetter]) -> bool:
        """Whether these are done with: the broker has the copies, or refuses them for ever. Those hold up no others."""
        try:
            self._transport.send_dead(masked_letters(letters, self._subscriptions.masked()))
        except Unsendable as error:
            if len(letters) > 1:
                copied = [self._copy([letter]) for letter in letters]
                return all(copied)
            letter = letters[0]
            log.error(
                "the broker can't hold a copy of dead letter %s of %s: %s", letter.event_id, letter.handler, error
            )
        except TransportError as error:
            self._throttle.warn(str(error))
            return False
        self._recovery.mark_copied(letters)
        return True
