"""How many rows the retention of the ledger has deleted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pruned:
    """The numbers of rows that were deleted; in a dry run, of those that would be deleted."""

    events: int = 0
    deliveries: int = 0
    parked: int = 0

    def __add__(self, other: "Pruned") -> "Pruned":
        return Pruned(self.events + other.events, self.deliveries + other.deliveries, self.parked + other.parked)
