"""What the demo claims, proved by counting: what was published, what the ledger says, what the handlers wrote."""

from dataclasses import dataclass

from rigs.demo.cards import Shelf
from rigs.demo.ledger import HANDLERS, OUTCOMES, Ledger


@dataclass(frozen=True)
class Check:
    """One claim: `found` has to be `wanted`."""

    claim: str
    wanted: object
    found: object

    @property
    def holds(self) -> bool:
        return self.wanted == self.found


def check_all(shelf: Shelf, ledger: Ledger) -> list[Check]:
    """Every claim about a finished run."""
    published = len(shelf.committed)
    states = ledger.states()
    ended = sum(count for (_, state), count in states.items() if state in OUTCOMES)
    told = sum(shelf.followers[library] * count for library, count in ledger.succeeded("notify_followers").items())
    refused = {f"{handler}: {error}": count for (handler, error), count in shelf.refusals.items()}
    dead: dict[str, int] = {}
    for group in ledger.dead():
        key = f"{group.handler}: {group.error_name}"
        dead[key] = dead.get(key, 0) + group.count
    return [
        Check("every committed event is in the ledger", published, ledger.events()),
        Check("every event has a delivery for each handler", published, ledger.with_all_deliveries()),
        Check("every delivery has an outcome", published * len(HANDLERS), ended),
        Check("feed items = succeeded add_to_feed", states["add_to_feed", "succeeded"], ledger.feed_items()),
        Check("notifications = succeeded notify_followers x followers", told, ledger.notifications()),
        Check("dead letters = the rows that break a rule, no other", refused, dead),
    ]
