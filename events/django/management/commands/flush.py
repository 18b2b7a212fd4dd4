"""`manage.py flush` removes all data, that of the ledger, too. TransactionTestCase calls it after each test."""

from typing import Any

from django.core.management.commands.flush import Command as Flush

from events.current_pipeline import get_pipeline
from events.django.configuration import ledger_alias
from events.store import empty


class Command(Flush):
    """Django's own command, and the ledger."""

    def handle(self, **options: Any) -> None:
        super().handle(**options)
        if options["database"] == ledger_alias():
            empty(get_pipeline().ledger.engine)
