"""The query string of the page Dead letters, as a filter, and back."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from events.flower.complaints import Complaint
from events.ledger import DeadLetterFilter
from events.operating import parse_time


@dataclass(frozen=True, slots=True)
class Query:
    """The fields as the user wrote them; an empty field matches every dead letter."""

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
        """From a query string or a form: `argument` gives a field by its name, and takes a default."""
        given = {name: argument(name, "") for name in cls.__dataclass_fields__}
        stripped = {name: text.strip() for name, text in given.items()}
        if stripped["handler"]:  # the name of a handler may begin with a space
            stripped["handler"] = given["handler"]
        return cls(**stripped)

    def filter(self) -> DeadLetterFilter:
        """The filter, without the group. Raises Complaint if a time is wrong."""
        return DeadLetterFilter(
            handler=self.handler or None,
            event_type=self.event or None,
            aggregate_id=self.aggregate or None,
            error=self.error or None,
            since=asked_time(self.since),
            before=asked_time(self.before),
        )

    def pinned(self, now: datetime) -> "Query":
        """The same dead letters at any later time: the query leaves out deliveries that die from `now` on."""
        wanted = self.filter()
        since = "" if wanted.since is None else wanted.since.isoformat()
        return replace(self, since=since, before=(wanted.before or now).isoformat())

    def link(self, **changes: str) -> str:
        """The query string of a link: "" or "?name=value&..."."""
        values = {name: value for name, value in (asdict(self) | changes).items() if value}
        return f"?{urlencode(values)}" if values else ""

    def fields(self) -> dict[str, str]:
        """The names and values of a form's hidden fields."""
        return {name: value for name, value in asdict(self).items() if value}

    def words(self) -> str:
        """The query in words, for a page."""
        return ", ".join(f"{name} {value}" for name, value in self.fields().items())


def asked_time(text: str) -> datetime | None:
    """The time in a field; None if the field is empty. Raises Complaint if the text is not a time."""
    try:
        return parse_time(text) if text else None
    except ValueError as error:
        raise Complaint(400, str(error)) from None
