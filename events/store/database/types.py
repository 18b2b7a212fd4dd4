"""Column types and expressions that mean the same on both databases."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, DateTime, Dialect, String, Text, Uuid, cast, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from events.ledger import SENT_AS


class UtcDateTime(TypeDecorator[datetime]):
    """timestamptz; on SQLite text in UTC that sorts by time.

    Times of foreign programs that Python can't hold are None: infinity, the year 12026, or on SQLite any text.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return type_coerce(readable(column), self)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")  # strftime shortens years

    def process_result_value(self, value: Any, _: Dialect) -> datetime | None:
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                return None
        if not isinstance(value, datetime):
            return None
        try:
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except OverflowError:  # the last hours of the year 9999
            return None


class readable(FunctionElement[datetime]):  # noqa: N801 - an SQL expression
    """A time, or NULL if Python can't hold it in each time zone."""

    inherit_cache = True


@compiles(readable, "postgresql")
def _readable_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    time = compiler.process(element.clauses, **options)
    first, last = ("'0001-01-03 00:00:00+00'::timestamptz", "'9999-12-29 00:00:00+00'::timestamptz")
    return f"CASE WHEN {time} > {first} AND {time} < {last} THEN {time} END"


@compiles(readable, "sqlite")
def _readable_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    time = compiler.process(element.clauses, **options)  # perhaps a number, or text that isn't UTF-8
    return f"CASE typeof({time}) WHEN 'text' THEN CAST({time} AS BLOB) END"


class StoredText(TypeDecorator[str]):
    """Text as a program stored it: on SQLite perhaps a number, or bytes that aren't UTF-8, which are shown as bytes.

    Args:
        warning: stands before such bytes, so that they aren't taken for JSON.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int | None = None, warning: str = "") -> None:
        super().__init__(length)
        self.warning = warning

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return type_coerce(as_bytes(column), self)

    def process_result_value(self, value: Any, _: Dialect) -> str | None:
        if not isinstance(value, bytes):
            return None if value is None else str(value)
        try:
            return value.decode()
        except UnicodeDecodeError:
            return self.warning + value.decode(errors="backslashreplace")


def stored_json(column: ColumnElement[Any]) -> ColumnElement[str]:
    """JSON as text."""
    return cast(column, StoredText(warning="no UTF-8: "))


class as_bytes(FunctionElement[str]):  # noqa: N801 - an SQL expression
    """The text as bytes, on SQLite, whose driver fails at text that isn't UTF-8."""

    inherit_cache = True


@compiles(as_bytes)
def _as_it_is(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(as_bytes, "sqlite")
def _as_bytes_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS BLOB)"


class Id(TypeDecorator[UUID]):
    """uuid; on SQLite text of 36 lower-case characters, as programs in every language write it."""

    impl = Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Uuid())

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        return str(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, _: Dialect) -> UUID | None:
        return UUID(value) if isinstance(value, str) else value


class Json(UserDefinedType[str]):
    """jsonb, given and read as JSON text (read it with `stored_json`): only events.ledger.codec parses it."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "JSONB"


@compiles(Json, "sqlite")
def _json_on_sqlite(*_: Any, **__: Any) -> str:
    return "TEXT"


class utc_now(FunctionElement[str]):  # noqa: N801 - an SQL function
    """The server's own clock as a column default."""

    inherit_cache = True


@compiles(utc_now, "postgresql")
def _now_on_postgresql(*_: object, **__: object) -> str:
    return "now()"


@compiles(utc_now, "sqlite")
def _now_on_sqlite(*_: object, **__: object) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now'))"


class of_metadata(FunctionElement[str]):  # noqa: N801 - an SQL expression
    """The text under a key of an event's metadata."""

    type = Text()
    inherit_cache = True
    key = ""


class causation_id(of_metadata):  # noqa: N801
    """The event whose handler published this one."""

    inherit_cache = True
    key = "causation_id"


class correlation_id(of_metadata):  # noqa: N801
    """Shared by everything that one request caused; the first event of a request has its own id there."""

    inherit_cache = True
    key = "correlation_id"


@compiles(of_metadata, "postgresql")
def _of_metadata_on_postgresql(element: of_metadata, *_: object, **__: object) -> str:
    return f"(metadata ->> '{element.key}')"


@compiles(of_metadata, "sqlite")
def _of_metadata_on_sqlite(element: of_metadata, *_: object, **__: object) -> str:
    return f"CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.{element.key}') END"


class sender_event_id(of_metadata):  # noqa: N801
    """The id that a received event has at its sender; our own events have none."""

    inherit_cache = True
    key = SENT_AS


class own_id(FunctionElement[str]):  # noqa: N801
    """An event's id as text."""

    type = Text()
    inherit_cache = True


@compiles(own_id)
def _own_id(*_: object, **__: object) -> str:
    return "CAST(id AS TEXT)"


def is_correlated() -> ColumnElement[bool]:
    """Whether the event belongs to a larger request."""
    return correlation_id() != own_id()


Ids = Text().with_variant(ARRAY(Uuid()), "postgresql")  # several ids


class is_among(FunctionElement[bool]):  # noqa: N801 - an SQL expression
    """Whether an id is one of several: of a column of type Ids."""

    type = Boolean()
    inherit_cache = True


@compiles(is_among, "postgresql")
def _is_among_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    one, ids = (compiler.process(part, **options) for part in element.clauses)
    return f"{one} = ANY ({ids})"


@compiles(is_among, "sqlite")
def _is_among_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    one, ids = (compiler.process(part, **options) for part in element.clauses)
    return f"instr({ids}, {one}) > 0"
