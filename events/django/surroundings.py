"""publish() in Django: in the `atomic()` that is open on the ledger's database, on Django's own connection."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from events.django.home import home_of
from events.errors import PublishError, SchemaError


class DjangoTransactions:
    """Keeps the contract of events.publishing.Surroundings.

    Args:
        alias: of the ledger's database.
        engine: of `home_engine`.
    """

    def __init__(self, alias: str, engine: Engine) -> None:
        self._alias = alias
        self._engine = engine

    def check(self, using: str) -> None:
        if using == self._alias:
            return
        if using not in connections.settings:
            why = f"names no alias in DATABASES: use {self._alias!r}"
        else:
            why = (
                f"is another database than the ledger's, so the event could be committed without what is written "
                f"there, or that without the event: publish in atomic(using={self._alias!r}), or set EVENTS = "
                f"{{'DATABASE': {using!r}}} if the ledger belongs there"
            )
        raise PublishError(f"publish(using={using!r}): {using!r} {why}")

    def is_open(self) -> bool:
        ours = connections[self._alias]
        if not ours.in_atomic_block and not ours.settings_dict["AUTOCOMMIT"]:
            return True
        by_hand = ours.connection is not None and not ours.in_atomic_block and not ours.autocommit
        return by_hand or any(map(_is_meant, connections.all(initialized_only=True)))

    def write(self, append: Callable[[Connection], None], using: str | None) -> None:
        _refuse_event_loop()
        wrapper = connections[self._alias]
        with wrapper.cursor():  # connects; and tests that allow no queries refuse it
            pass
        if wrapper.in_atomic_block or not wrapper.autocommit:
            wrapper.validate_no_broken_transaction()
            self._append(append)
            return
        if using is None:
            self._refuse_elsewhere()
        with transaction.atomic(using=self._alias):
            self._append(append)

    async def aside(self, work: Callable[[], None]) -> None:
        await sync_to_async(work, thread_sensitive=True)()

    def _append(self, append: Callable[[Connection], None]) -> None:
        try:
            with self._engine.connect() as connection:
                home_of(connection).join()
                append(connection)
        except SchemaError as error:
            raise SchemaError(
                f"DATABASES[{self._alias!r}] has no ledger, or an old one: run `python manage.py migrate`"
            ) from error
        except DBAPIError as error:
            with connections[self._alias].wrap_database_errors:  # as Django's callers expect it
                raise (error.orig or error) from None

    def _refuse_elsewhere(self) -> None:
        """Refuse to commit an event at once that the caller means to be in the transaction of another database."""
        for other in connections.all(initialized_only=True):
            if _is_meant(other):
                raise PublishError(
                    f"publish() in atomic(using={other.alias!r}), and the ledger is in {self._alias!r}: the event "
                    f"would be committed at once, even if that is rolled back. Publish in atomic(using="
                    f"{self._alias!r}), or say publish(event, using={self._alias!r}) if that is meant"
                )


def _is_meant(wrapper: Any) -> bool:
    """Whether it is in a transaction that the application has begun, and not a test around it."""
    return bool(wrapper.in_atomic_block and not wrapper.atomic_blocks[-1]._from_testcase)


def _refuse_event_loop() -> None:
    if os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):  # as notebooks set it
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise PublishError(
        "publish() would block the event loop, and Django's connections can't be used on it; use "
        "`await publish_async(event)`"
    )
