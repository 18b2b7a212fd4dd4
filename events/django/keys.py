"""The keys of the ledger's rows in Django.

A delivery's key is one text of the event's id and the handler's name, since the admin takes no composite keys. It is no
column. It is made of the two columns where rows are read, and looked up by them, so that their index is used.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models.expressions import Expression
from django.db.models.lookups import Exact, In

_BETWEEN = "~"


class EventId(models.UUIDField):
    """An event's id: on SQLite text of 36 characters, where Django would write 32."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        found = self.to_python(value)
        return found if found is None or connection.features.has_native_uuid_field else str(found)


class DeliveryKey(models.TextField):
    """The primary key of a delivery, such as `0192...~add_to_feed`."""

    def get_col(self, alias: str, output_field: Any = None) -> Any:
        return _Key(alias, self if output_field is None else output_field)


def parts_of(key: object) -> tuple[UUID, str] | None:
    """The event's id and the handler's name; None if this is no key."""
    event_id, between, handler = str(key).partition(_BETWEEN)
    try:
        return (UUID(event_id), handler) if between else None
    except ValueError:
        return None


class _Key(Expression):
    contains_column_references = True

    def __init__(self, alias: str, field: Any) -> None:
        super().__init__(output_field=field)
        self.alias, self.target = alias, field

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        event_id, handler = self.columns(compiler)
        return f"(CAST({event_id} AS text) || '{_BETWEEN}' || {handler})", []

    def columns(self, compiler: Any) -> tuple[str, str]:
        alias, quote = compiler.quote_name_unless_alias(self.alias), compiler.connection.ops.quote_name
        return f"{alias}.{quote('event_id')}", f"{alias}.{quote('handler')}"

    def relabeled_clone(self, relabels: dict[str, str]) -> "_Key":
        return type(self)(relabels.get(self.alias, self.alias), self.output_field)

    def get_group_by_cols(self) -> list[Any]:
        return [self]

    def get_db_converters(self, connection: Any) -> list[Any]:
        return []


def _by_columns(lookup: Any, compiler: Any, connection: Any, keys: Iterable[object]) -> tuple[str, list[Any]]:
    parts = [found for key in keys if (found := parts_of(key)) is not None]
    if not parts:
        return "1 = 0", []
    event_id, handler = lookup.lhs.columns(compiler)
    given = [(str(one) if connection.vendor == "sqlite" else one, name) for one, name in parts]
    either = " OR ".join([f"({event_id} = %s AND {handler} = %s)"] * len(given))
    return f"({either})", [value for pair in given for value in pair]


@DeliveryKey.register_lookup
class _KeyIs(Exact):
    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return _by_columns(self, compiler, connection, [self.rhs])


@DeliveryKey.register_lookup
class _KeyIsAmong(In):
    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return _by_columns(self, compiler, connection, self.rhs)
