"""The low-water mark: where a look may begin, past all that is done.

While somebody keeps a transaction open (a report, a dump, a stuck replica), PostgreSQL can't remove the index entries
of rows that were done with since. They lie before those that are still to be done, and a look from the beginning walks
over all of them, each time. So when such a look takes long, most looks begin where the last one found something to do;
and now and then, as much as a twentieth of the time allows, one begins at the beginning, and finds what has an older
time and was committed later.
"""

import time
from datetime import UTC, datetime, timedelta

from events.ration import Ration


class LowWater:
    """The mark of one kind of look.

    Args:
        slack: how much older than the present the time of a row may be when it can be seen first: a transaction takes
            its time, and clocks differ.
    """

    def __init__(self, slack: timedelta) -> None:
        self._slack = slack
        self._from_the_beginning = Ration()
        self._looked_at = 0.0
        self.mark: datetime | None = None

    @property
    def is_old(self) -> bool:
        """Whether nobody has looked for a second."""
        return time.monotonic() - self._looked_at > 1.0

    @property
    def since(self) -> datetime | None:
        """The time at which the next look may begin; None for the beginning."""
        return self.mark if self._from_the_beginning.wait else None

    def looked(self, since: datetime | None, seconds: float, found: int, oldest: datetime | None) -> None:
        """Called after a look.

        Args:
            since: where it began.
            seconds: how long it took.
            found: how much there was to do.
            oldest: the time of the oldest of that, if Python can hold it.
        """
        if since is None:
            self._from_the_beginning.took(seconds)
        self._looked_at = time.monotonic()
        now = datetime.now(UTC) - self._slack
        if not found:
            self.mark = now
        else:
            self.mark = oldest and min(oldest, now)
