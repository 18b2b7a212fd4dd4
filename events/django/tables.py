"""`manage.py migrate` makes the ledger's tables: our migrations for Django run those of `events migrate`."""

from typing import Any

from django.db import connections
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from events.current_pipeline import get_pipeline
from events.django.configuration import ledger_alias
from events.store import migration_sql


class UpdateLedger(Operation):
    """Brings the ledger up to date, on its own alias alone. `revision`: the newest at that time."""

    reversible = True
    reduces_to_sql = True

    def __init__(self, revision: str) -> None:
        self.revision = revision

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [self.revision], {}

    def state_forwards(self, app_label: str, state: Any) -> None: ...

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.alias != ledger_alias():
            return
        if schema_editor.collect_sql:
            engine = get_pipeline().ledger.engine
            schema_editor.collected_sql.append(migration_sql(engine, from_scratch=True))
            return
        _update(schema_editor.connection)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.alias == ledger_alias():
            raise IrreversibleError(
                "the ledger is not migrated back, for that would delete events; if that is meant, drop its tables "
                "(event_* and events_schema; see docs/django.md), and then migrate with --fake"
            )

    def describe(self) -> str:
        return f"Create or update the tables of domain events, to {self.revision}"


def without_migrations(sender: Any, using: str, **_: Any) -> None:
    """Make the tables where Django's migrations of this application are switched off (MIGRATION_MODULES), as for tests.

    For Django's signal `post_migrate`.
    """
    if using == ledger_alias() and MigrationLoader.migrations_module(sender.label)[0] is None:
        _update(connections[using])


def _update(wrapper: Any) -> None:
    """Migrate the ledger. In a schema of its own that leaves a search_path that is not Django's."""
    if wrapper.vendor != "postgresql":
        get_pipeline().migrate()
        return
    with wrapper.cursor() as cursor:
        cursor.execute("SHOW search_path")
        (before,) = cursor.fetchone()
        get_pipeline().migrate()
        cursor.execute("SELECT set_config('search_path', %s, true)", [before])
