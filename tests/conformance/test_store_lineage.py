"""Who takes which events, and what came of them."""

from dataclasses import replace
from uuid import UUID, uuid4

from support.store import Store, envelope


def caused(store: Store, event_type: str, cause: UUID | str) -> None:
    one = replace(envelope(uuid4(), event_type), metadata=f'{{"causation_id": "{cause}"}}')
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, [one])


def test_what_was_published_in_handlers_of_what(store: Store) -> None:
    # Given events, some of them caused by others, and one by nobody knows what
    first = store.publish(event_type="Asked")
    other = store.publish(event_type="Guessed")
    caused(store, "Answered", first)
    caused(store, "Answered", other)
    caused(store, "Answered", uuid4())  # which is pruned
    caused(store, "Shouted", "request 7")
    assert store.ledger.lineage.caused(100) == {"Answered": {"Asked", "Guessed"}}


def test_who_is_subscribed_to_what(store: Store) -> None:
    assert store.ledger.lineage.subscribed() == {}
    store.subscribe("hear", event_type="Said")
    store.subscribe("write", event_type="Said")
    assert store.ledger.lineage.subscribed() == {"hear": {"Said"}, "write": {"Said"}}
