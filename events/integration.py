"""Integration events: the public contract. Domain events are private, and may change with the code that they belong to.

    class CardAdded(IntegrationEvent, name="library.card-added.v1", aggregate_id="library_id"):
        library_id: UUID
        title: str

Others rely on these: they are what leaves the application, and what the contract document (`events asyncapi`) says.
A field more is no harm: raise `version=`. What would break a reader (a field that goes, or means something else) is
another event: `library.card-added.v2`, beside `.v1` for as long as somebody reads that.
"""

import re
from typing import Any, ClassVar

from events.errors import DefinitionError
from events.event import DomainEvent, own_fields

# What the bodies of messages say of an event besides its own fields, which they stand next to.
ENVELOPE = ("eventId", "eventType", "aggregateId", "dateTimeOccurred", "timestamp")


class IntegrationEvent(DomainEvent, abstract=True):
    """Base class of public events; class arguments as of DomainEvent.

    Raises:
        DefinitionError: at import, also for a field that would hide one of the message's own, such as `eventId`.
    """

    public: ClassVar[bool] = True

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        taken = [field for field in own_fields(cls) if field in ENVELOPE]
        if taken:
            raise DefinitionError(
                f"event {cls.__name__} ({cls.defined_at}) declares {taken[0]!r}, which its messages say already "
                f"({', '.join(ENVELOPE)}); rename the field"
            )
        super().__pydantic_init_subclass__(**kwargs)


def is_public(event_class: type[DomainEvent]) -> bool:
    """Whether it is part of the public contract."""
    return issubclass(event_class, IntegrationEvent)


def contract_of(event_name: str) -> str:
    """What all versions of a public event share: its name without the `.v2` at the end."""
    return re.sub(r"\.v\d+$", "", event_name)
