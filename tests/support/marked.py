"""Another program that marks events as processed, and what the ledger has written of them."""

from uuid import UUID

import pytest
from sqlalchemy import select

from events.ledger.records import Mark
from events.store.tables import event_store
from support.store import Store

INSERT = "INSERT INTO event_store (id, event_type, event_data) VALUES (gen_random_uuid(), 'Said', '{}')"
postgres_only = pytest.mark.parametrize("url", ["postgres"], indirect=True)
MARK = "UPDATE event_store SET processed = true WHERE processed = false"


def marks(store: Store) -> dict[UUID, Mark]:
    with store.ledger.engine.connect() as connection:
        query = select(event_store.c.id, event_store.c.fanned_out)
        return {row[0]: Mark(row[1]) for row in connection.execute(query)}
