"""Which dead letters a page is about: its query string, as a filter and back."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from events.flower.complaints import Complaint
from events.ledger import DeadLetterFilter
from events.operating import parse_time


@dataclass(frozen=True, slots=True)
class Query:
    """As it was written; empty fields match all."""

    handler: str = ""
    event: str = ""
    aggregate: str = ""
    error: str = ""
    since: str = ""
    before: str = ""
    group: str = ""

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    @classmethod
    def of(cls, argument: Callable[[str, str], str]) -> "Query":
        """From a query string or a form: `argument` is a handler's method. A name may begin with a space."""
        given = {name: argument(name, "") for name in cls.__dataclass_fields__}
        return cls(
            **{name: text if name == "handler" and text.strip() else text.strip() for name, text in given.items()}
        )

    def filter(self) -> DeadLetterFilter:
        """Without the group. Raises Complaint for a time that is none."""
        return DeadLetterFilter(
            handler=self.handler or None,
            event_type=self.event or None,
            aggregate_id=self.aggregate or None,
            error=self.error or None,
            since=asked_time(self.since),
            before=asked_time(self.before),
        )

    def pinned(self, now: datetime) -> "Query":
        """The same at any later time: what dies from `now` on is not meant."""
        wanted = self.filter()
        since = "" if wanted.since is None else wanted.since.isoformat()
        return replace(self, since=since, before=(wanted.before or now).isoformat())

    def link(self, **changes: str) -> str:
        """For a link: "" or "?name=value&..."."""
        values = {name: value for name, value in (asdict(self) | changes).items() if value}
        return f"?{urlencode(values)}" if values else ""

    def fields(self) -> dict[str, str]:
        """For a form's hidden fields."""
        return {name: value for name, value in asdict(self).items() if value}

    def words(self) -> str:
        """What is meant, to be read."""
        return ", ".join(f"{name} {value}" for name, value in self.fields().items())


def asked_time(text: str) -> datetime | None:
    """A time, if there is one. Raises Complaint."""
    try:
        return parse_time(text) if text else None
    except ValueError as error:
        raise Complaint(400, str(error)) from None
