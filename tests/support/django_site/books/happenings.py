"""What happens in the bookshop."""

from events import DomainEvent


class BookListed(DomainEvent, aggregate_id="title"):
    title: str


class BookPraised(DomainEvent, aggregate_id="title", masked=("reader",)):
    title: str
    reader: str = ""


class BookPlanned(DomainEvent, aggregate_id="title"):
    """Its handler does what `plan` says; see books.planning."""

    title: str
    plan: str


class BookShared(DomainEvent, aggregate_id="title"):
    """For a handler with a Session, and the ORM."""

    title: str


class BookAwaited(DomainEvent, aggregate_id="title"):
    """The same, for an `async def` handler."""

    title: str
    plan: str
