"""What destroys is asked for on a terminal, with how much of what; and what was discarded comes back."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import update

from events.store.tables import event_deliveries, event_store
from support.operator import Operator
from support.shelf import EVENTS, HANDLERS, fill, park
from support.store import Store
from support.terminal import Terminal

LAST_YEAR = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def operator(store: Store) -> Operator:
    return Operator(store.url)


@pytest.fixture
def terminal(store: Store) -> Terminal:
    return Terminal(store.url, 200, TERM="dumb")  # no bars


def old(store: Store) -> None:
    """Let all that is finished be of last year."""
    with store.ledger.engine.begin() as connection:
        connection.execute(update(event_store).values(created_at=LAST_YEAR))
        finished = event_deliveries.c.finished_at.is_not(None)
        connection.execute(update(event_deliveries).where(finished).values(finished_at=LAST_YEAR))


def finish(store: Store, *ids: UUID) -> None:
    with store.ledger.engine.begin() as connection:
        connection.execute(
            update(event_deliveries).where(event_deliveries.c.event_id.in_(ids)).values(state="succeeded")
        )


def test_discarding_is_asked_for_and_taken_back(store: Store, operator: Operator, terminal: Terminal) -> None:
    # Given six dead letters, and three that were discarded
    fill(store)
    # When somebody at a terminal would discard all of them, and says no
    said = terminal.runs("dead", "discard", "--all", types="n\n")
    # Then he was told how many, and nothing has happened
    assert "Discard 6 dead letters?" in said.stdout
    assert (said.returncode, "Aborted" in said.stdout) == (1, True)
    assert len(operator.gets("dead", "list")) == 6  # type: ignore[arg-type]
    # When he says yes, or --yes; or nobody is there to be asked; or he names them: then they are discarded
    feed = ("--handler", HANDLERS[0])
    assert "2 discarded" in terminal.sees("dead", "discard", "--all", *feed, types="y\n")
    key = next(one["group"] for one in operator.gets("dead", "groups") if one["handler"] == HANDLERS[1])  # type: ignore[attr-defined]
    assert terminal.sees("dead", "discard", "--group", key, "--yes").strip() == "2 discarded"
    (letter, _) = operator.gets("dead", "list")  # type: ignore[misc]
    assert terminal.sees("dead", "discard", letter["event_id"]).strip() == "1 discarded"
    assert operator.sees("dead", "discard", "--all") == "1 discarded\n"
    # Then all nine are listed, and can be taken back: those of a group, those of a filter, all
    listed = operator.gets("dead", "list", "--discarded")
    assert len(listed) == 9  # type: ignore[arg-type]
    assert operator.sees("dead", "restore", "--group", key, "--dry-run") == "3 would be restored\n"
    assert operator.sees("dead", "restore", "--group", key, "--actor", "ann") == "3 restored\n"
    assert "groups --discarded" in operator.is_refused(1, "dead", "restore", "--group", key)
    assert operator.sees("dead", "restore", "--all", "--event", EVENTS[2]) == "2 restored\n"
    assert operator.sees("dead", "restore", "--all") == "4 restored\n"
    assert operator.sees("dead", "restore", "--all") == "0 restored\n"
    assert len(operator.gets("dead", "list")) == 9  # type: ignore[arg-type]
    assert operator.gets("dead", "groups", "--discarded") == []
    # And which is said, or nothing is done
    assert "--group" in operator.is_refused(2, "dead", "restore")


def test_what_waits_for_a_handler_is_asked_for_before_it_is_retired(
    store: Store, operator: Operator, terminal: Terminal
) -> None:
    # Given a handler that no code has, for which something waits
    store.subscribe()
    event_id = store.publish()
    store.ledger.outbox.fan_out(10)
    # When somebody would retire it, and says no, then it is as it was
    said = terminal.runs("handlers", "retire", "hear", types="n\n")
    assert "Retire hear, and discard its waiting deliveries (1)?" in said.stdout
    assert store.row(event_id).state == "pending"
    # When he says yes, then it can be taken back, as a dead letter
    assert "1 delivery discarded" in terminal.sees("handlers", "retire", "hear", types="y\n")
    assert operator.sees("dead", "restore", "--all", "--handler", "hear") == "1 restored\n"
    assert store.row(event_id).state == "dead"
    # And where nothing waits, nobody is asked
    store.subscribe("deaf")
    assert "0 deliveries discarded" in terminal.sees("handlers", "retire", "deaf")


def test_pruning_is_asked_for_on_a_terminal_and_not_in_cron(
    store: Store, operator: Operator, terminal: Terminal
) -> None:
    # Given what is finished, and old
    ids = fill(store)
    finish(store, *ids[:2])
    old(store)
    # When somebody at a terminal would prune it, and says no, then all is there
    said = terminal.runs("prune", "--older-than", "30d", types="n\n")
    assert "Delete 3 events with 9 deliveries, 0 parked messages for good?" in said.stdout
    assert store.count() == 4
    # When cron does, or he says --yes, then it is gone; and where there is nothing, nobody is asked
    assert "deleted 3 events" in operator.sees("prune", "--older-than", "30d")
    assert "deleted 0 events" in terminal.sees("prune", "--older-than", "30d")
    assert "deleted 0 events" in terminal.sees("prune", "--older-than", "30d", "--yes")


def test_parked_messages_are_asked_for_and_taken_back(store: Store, operator: Operator, terminal: Terminal) -> None:
    # Given three parked messages
    ids = [park(store, text) for text in ("one", "two", "two")]
    # When they are to be discarded, then that is asked for, by how many of which
    said = terminal.runs("parked", "discard", "--all", "--reason", "unknown event two", types="n\n")
    assert "Discard 2 parked messages?" in said.stdout
    assert "1 discarded" in terminal.sees("parked", "discard", ids[0])
    assert "2 discarded" in terminal.sees("parked", "discard", "--all", types="y\n")
    assert operator.gets("parked", "list") == []
    # Then they are listed, shown, and taken back, once
    assert len(operator.gets("parked", "list", "--discarded")) == 3  # type: ignore[arg-type]
    assert "no event named one" in operator.sees("parked", "show", ids[0])
    assert operator.sees("parked", "restore", ids[0]) == "1 restored\n"
    assert "--discarded" in operator.is_refused(1, "parked", "restore", ids[0])
    assert operator.sees("parked", "restore", "--all", "--reason", "unknown event two") == "2 restored\n"
    assert len(operator.gets("parked", "list")) == 3  # type: ignore[arg-type]
    assert "--all" in operator.is_refused(2, "parked", "restore")


def test_what_is_gone_for_good_needs_a_word_where_nobody_can_be_asked(store: Store, operator: Operator) -> None:
    fill(store)
    refused = operator.is_refused(2, "unhandled", "drop", "--all")
    assert "--yes" in refused
    assert "Delete 1 event of type Unheard" in refused
    assert operator.sees("unhandled", "drop", "--all", "--yes") == "1 event deleted\n"
