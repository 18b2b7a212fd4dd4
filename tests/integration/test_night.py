"""Something failed at night: an operator finds what and why, and repairs it, by the command line alone."""

import signal
from uuid import UUID, uuid4

import pytest

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.records import Failure
from support.operator import Operator
from support.store import Store
from support.waiting import eventually

WHY = Failure("shop.SoldOut", "no more [spice]\nsecond line", "Traceback ...\nSoldOut", "shop.stock.take")


@pytest.fixture
def operator(store: Store) -> Operator:
    return Operator(store.url)


def died(store: Store, count: int, why: Failure = WHY) -> list[UUID]:
    store.subscribe(max_attempts=1)
    ids = []
    for _ in range(count):
        ids.append(store.publish())
        store.ledger.inbox.bury(store.claim(store.take()[0]), why)
    return ids


def state(store: Store, *ids: UUID) -> set[str]:
    return {store.row(event_id).state for event_id in ids}


def test_the_operator_finds_what_failed_alike_and_replays_it(store: Store, operator: Operator) -> None:
    # Given five deliveries that died of one cause, and one of another
    alike, (other,) = died(store, 5), died(store, 1, Failure("ValueError", "bad", "Traceback", "shop.sell"))
    # When he looks at the groups, he sees two
    groups = operator.gets("dead", "groups")
    assert isinstance(groups, list)
    assert [(group["count"], group["error_type"], group["place"]) for group in groups] == [
        (5, "shop.SoldOut", "shop.stock.take"), (1, "ValueError", "shop.sell"),
    ]  # fmt: skip
    table = operator.sees("dead", "groups")
    assert "SoldOut" in table
    assert "no more [spice]" in table  # as it is, and not as markup
    # When he asks first how many it would be, nothing happens
    key = groups[0]["group"]
    assert operator.sees("dead", "replay", "--group", key, "--dry-run").strip() == "5 would be replayed"
    assert state(store, *alike) == {"dead"}
    # When he replays the group, then all of it is due again, and the other is as it was; a second time does nothing
    assert operator.sees("dead", "replay", "--group", key, "--actor", "ann").strip() == "5 replayed"
    assert state(store, *alike) == {"pending"}
    assert state(store, other) == {"dead"}
    assert "shows all" in operator.is_refused(1, "dead", "replay", "--group", key)
    # And it stands in the history of each
    shown = operator.gets("show", alike[0])
    assert isinstance(shown, dict)
    assert [(action["action"], action["actor"]) for action in shown["actions"]] == [("replay", "ann")]
    assert shown["attempts"][0]["traceback"] == WHY.traceback
    assert [moment["what"] for moment in shown["timeline"]][:2] == ["published", "fanned out"]


def test_the_page_of_an_event_tells_its_story(store: Store, operator: Operator) -> None:
    (event_id,) = died(store, 1)
    store.ledger.dead.replay(DeadLetterFilter(), "ann@shop")
    story = operator.sees("show", event_id)
    for words in ("Said", "a-1", "published", "fanned out", "failed, dead", "no more [spice]", "replayed", "ann@shop"):
        assert words in story
    assert "Traceback ..." not in story
    assert "Traceback ..." in operator.sees("show", event_id, "--tracebacks")


def test_a_rate_is_kept_and_the_rest_is_not_forgotten(store: Store, operator: Operator) -> None:
    ids = died(store, 3)
    assert operator.sees("dead", "replay", "--all", "--rate", "20").strip() == "3 replayed"
    assert state(store, *ids) == {"pending"}


def test_filters_say_which(store: Store, operator: Operator) -> None:
    died(store, 2)
    assert len(operator.gets("dead", "list", "--error", "soldout", "--since", "1h")) == 2  # type: ignore[arg-type]
    assert operator.gets("dead", "list", "--error", "%", "--aggregate", "a-1") == []
    assert len(operator.gets("find", "--aggregate", "a-1", "--limit", 1)) == 1  # type: ignore[arg-type]
    assert operator.runs("find", "--event", "Sung").stderr.strip() == "no event matches"


def test_what_was_discarded_by_mistake_is_restored(store: Store, operator: Operator) -> None:
    (event_id,) = died(store, 1)
    assert operator.sees("dead", "discard", event_id).strip() == "1 discarded"
    assert operator.sees("dead", "restore", event_id).strip() == "1 restored"
    assert "none of these is discarded" in operator.is_refused(1, "dead", "restore", event_id)
    assert state(store, event_id) == {"dead"}


def test_what_makes_no_sense_is_one_line_with_the_cure(operator: Operator) -> None:
    assert "events find" in operator.is_refused(1, "show", uuid4())
    assert "--group" in operator.is_refused(2, "dead", "replay")
    assert "--group" in operator.is_refused(2, "dead", "discard", uuid4(), "--all")
    assert "2h" in operator.is_refused(2, "dead", "list", "--since", "yesterday")
    assert "valid UUID" in operator.is_refused(2, "show", "17")


def test_ctrl_c_stops_between_two_batches_and_says_what_is_done(store: Store, operator: Operator) -> None:
    # Given a replay that takes its time
    ids = died(store, 3)
    with operator.begins("dead", "replay", "--all", "--rate", "0.1") as replay:
        eventually(lambda: "pending" in state(store, *ids), "the first is replayed")
        # When it is stopped
        replay.send_signal(signal.SIGINT)
        _, said = replay.communicate()
    # Then what is done is done, and the rest waits for the same command
    assert replay.returncode == 130
    assert said.strip() == "stopped: 1 replayed, the others are as they were"
    assert state(store, *ids) == {"pending", "dead"}
    assert operator.sees("dead", "replay", "--all").strip() == "2 replayed"
