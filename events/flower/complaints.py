"""Errors as a page of one line, with a status: never a traceback, never a password."""

from sqlalchemy.exc import DataError, DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tornado.web import HTTPError

from events.errors import ConfigurationError, EventsError, NoSuchDeadLetter, NoSuchEvent, NoSuchHandler
from events.text import first_line, redact


class Complaint(HTTPError):
    """The line of an error page, and its HTTP status."""

    def __init__(self, status: int, line: str) -> None:
        self.line = first_line(redact(line))
        super().__init__(status, self.line)


def complaint_of(error: Exception) -> Exception:
    """The Complaint that tells of this error; the error itself, if it is a mistake of ours."""
    if isinstance(error, HTTPError):
        return error
    if isinstance(error, (NoSuchEvent, NoSuchDeadLetter, NoSuchHandler)):
        return Complaint(404, str(error))
    if isinstance(error, ConfigurationError):
        return Complaint(503, str(error))
    if isinstance(error, EventsError):
        return Complaint(400, str(error))
    if isinstance(error, DataError):
        return Complaint(400, f"the database can't take these values: {_reason(error)}")
    if isinstance(error, DBAPIError):
        cure = "check that the database runs, and that `events migrate` was run"
        return Complaint(503, f"the database refused the query: {_reason(error)}; {cure}")
    if isinstance(error, PoolTimeout):
        return Complaint(503, "all connections to the database are busy; try again in a moment")
    if isinstance(error, StatementError):
        return Complaint(400, f"the database can't take these values: {error.orig}")
    return error


def _reason(error: DBAPIError) -> str:
    return first_line(error.orig)
