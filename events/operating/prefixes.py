"""Ids by their first characters, as people type them."""

import re
from collections.abc import Sequence
from uuid import UUID

from events.errors import AmbiguousId

AT_ONCE = 6  # candidates to look for: five are named


def bounds(prefix: str) -> tuple[UUID, UUID] | None:
    """The first and the last UUID that begin so; None if none can, as they have hexadecimal digits and hyphens."""
    begins = prefix.lower()
    model = re.sub("[0-9a-f]", "0", begins)
    digits = begins.replace("-", "")
    if not digits or len(digits) > 32 or not (model == "0" * len(model) or f"{UUID(int=0)}".startswith(model)):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def only_one(prefix: str, found: Sequence[UUID]) -> UUID:
    """The one id that was found. Raises AmbiguousId, which names the candidates."""
    if len(found) == 1:
        return found[0]
    more = ", and more" if len(found) >= AT_ONCE else ""
    named = ", ".join(map(str, found[: AT_ONCE - 1]))
    raise AmbiguousId(f"several ids begin with {prefix}: {named}{more}; give some more of the one that you mean")
