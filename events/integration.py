"""Integration events: the public contract. Domain events are private, and may change with the code that they belong to.

    class CardAdded(IntegrationEvent, name="library.card-added.v1", aggregate_id="library_id"):
        library_id: UUID
        title: str

Others rely on these: they are what leaves the application, and what the contract document (`events asyncapi`) says.
A field more is no harm: raise `version=`. What would break a reader (a field that goes, or means something else) is
another event: `library.card-added.v2`, beside `.v1` for as long as somebody reads that.
"""

import re
from typing import ClassVar

from events.event import DomainEvent


class IntegrationEvent(DomainEvent, abstract=True):
    """Base class of public events; class arguments and errors as of DomainEvent."""

    public: ClassVar[bool] = True


def is_public(event_class: type[DomainEvent]) -> bool:
    """Whether it is part of the public contract."""
    return getattr(event_class, "public", None) is True


def contract_of(event_name: str) -> str:
    """What all versions of a public event share: its name without the `.v2` at the end."""
    return re.sub(r"\.v\d+$", "", event_name)
