"""What goes wrong, as one line and a status: never a traceback, never a password."""

from sqlalchemy.exc import DataError, DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tornado.web import HTTPError

from events.errors import ConfigurationError, EventsError
from events.operating import NoSuchDeadLetter, NoSuchEvent, NoSuchHandler
from events.text import first_line, redact


class Trouble(HTTPError):
    """A page that is one line."""

    def __init__(self, status: int, line: str) -> None:
        self.line = first_line(redact(line))
        super().__init__(status, self.line)


def trouble_of(error: Exception) -> Exception:
    """As a Trouble; as it is, if it is a mistake of ours."""
    if isinstance(error, HTTPError):
        return error
    if isinstance(error, (NoSuchEvent, NoSuchDeadLetter, NoSuchHandler)):
        return Trouble(404, str(error))
    if isinstance(error, ConfigurationError):
        return Trouble(503, str(error))
    if isinstance(error, EventsError):
        return Trouble(400, str(error))
    if isinstance(error, DataError):
        return Trouble(400, f"the database can't take this: {_reason(error)}")
    if isinstance(error, DBAPIError):
        return Trouble(503, f"the database refused: {_reason(error)}; is it running, and was `events migrate` run?")
    if isinstance(error, PoolTimeout):
        return Trouble(503, "all connections to the database are busy; try again in a moment")
    if isinstance(error, StatementError):
        return Trouble(400, f"the database can't take this: {error.orig}")
    return error


def _reason(error: DBAPIError) -> str:
    return first_line(error.orig)
