"""Finds ids by their first characters, as people type them."""

import re
from collections.abc import Sequence
from uuid import UUID

from events.errors import AmbiguousId

AT_ONCE = 6  # candidates that are looked for: five are named, and the sixth tells that there are more


def bounds(prefix: str) -> tuple[UUID, UUID] | None:
    """The first and the last UUID that begin with `prefix`; None if no UUID can, for its digits or its hyphens."""
    begins = prefix.lower()
    model = re.sub("[0-9a-f]", "0", begins)
    digits = begins.replace("-", "")
    if not digits or len(digits) > 32 or not (model == "0" * len(model) or f"{UUID(int=0)}".startswith(model)):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def only_one(prefix: str, candidates: Sequence[UUID]) -> UUID:
    """The only candidate. Raises AmbiguousId, which names the candidates, if there are several."""
    if len(candidates) == 1:
        return candidates[0]
    more = ", and more" if len(candidates) >= AT_ONCE else ""
    named = ", ".join(map(str, candidates[: AT_ONCE - 1]))
    raise AmbiguousId(f"several ids begin with {prefix}: {named}{more}; type more characters of the id that you mean")
