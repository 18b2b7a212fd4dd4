"""The tabs in Flower, over HTTP: what is done there is done once, is what the page said, and is remembered."""

import html
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.records import Failure
from support.flower import Flower
from support.night import WHY, deeds, died, ledger, letter, nothing_is_dead, replays, said, state
from support.store import Store
from support.waiting import eventually


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Flower]]:
    with ledger(tmp_path_factory.mktemp("flower")) as (system, store):
        yield store, Flower(system, "--basic-auth=alice:secret,bob:pw").answers()


@pytest.fixture
def store(night: tuple[Store, Flower]) -> Store:
    return nothing_is_dead(night[0])


@pytest.fixture
def flower(night: tuple[Store, Flower], store: Store) -> Flower:
    """Alice's, who is logged in; Bob may be, too."""
    night[1].cookies.clear()
    return night[1]


def test_to_look_changes_nothing(flower: Flower, store: Store) -> None:
    (event_id,) = died(store)
    for path in ("/dead-letters/selected", "/dead-letters/stop", "/event-handlers/pause"):
        assert flower.get(f"{path}?do=replay&letter={event_id}+hear&handler=hear").status == 405
    assert flower.get("/dead-letters/discard").status == 200
    assert state(store, event_id) == {"dead"}


def test_a_double_click_and_two_operators_act_once(flower: Flower, store: Store) -> None:
    # Given one dead letter
    (event_id,) = died(store)
    # When Alice clicks twice, and Bob once, all at the same time
    with ThreadPoolExecutor(3) as pool:
        logins = ["alice:secret", "alice:secret", "bob:pw"]
        fields = [("do", "replay"), letter(event_id)]
        answers = list(pool.map(lambda login: flower.post("/dead-letters/selected", fields, login=login), logins))
    # Then everybody is sent back, and it was done once, by one of them
    assert [answer.status for answer in answers] == [303, 303, 303]
    ((deed, actor),) = deeds(store, event_id)
    assert deed == "replay"
    assert actor in ("alice@flower", "bob@flower")
    # And who comes later is told
    replays(flower, event_id)
    gone = "1 dead letter was gone already: another operator replayed or discarded it."
    assert said(flower) == f"Nothing was replayed. {gone}"


def test_ticked_letters_are_replayed_and_what_fails_again_is_marked(flower: Flower, store: Store) -> None:
    first, second, third = died(store, 3)
    fields = [("do", "replay"), letter(first), letter(second), ("back", "/dead-letters?handler=hear")]
    answer = flower.post("/dead-letters/selected", fields)
    assert (answer.status, answer.headers["Location"]) == (303, "/dead-letters?handler=hear")
    assert said(flower) == "alice@flower replayed 2 dead letters."
    assert said(flower) == ""  # once
    assert state(store, third) == {"dead"}
    (wakeup,) = [one for one in store.take_due("q", 10) if one.event_id == first]
    store.ledger.inbox.bury(store.claim(wakeup), WHY)
    page = flower.sees("/dead-letters?handler=hear")
    assert page.count(">again</span>") == 1


def test_a_form_cannot_send_the_browser_elsewhere(flower: Flower, store: Store) -> None:
    (event_id,) = died(store)
    for back in ("https://evil.example", "//evil.example", "/\\evil.example", "/dead-letters-of-mine", "/workers"):
        answer = flower.post("/dead-letters/selected", [("do", "replay"), letter(event_id), ("back", back)])
        assert answer.headers["Location"] == "/dead-letters", back


def test_a_group_is_replayed_after_the_page_has_asked_how_many(flower: Flower, store: Store) -> None:
    # Given three that failed alike, and one otherwise
    alike, (other,) = died(store, 3), died(store, 1, Failure("ValueError", "bad", "Traceback", "shop.sell"))
    (key,) = [one.key for one in store.ledger.dead.groups(DeadLetterFilter()) if one.count == 3]
    # When she asks for the group, the page says how many, and what
    page = flower.sees(f"/dead-letters/replay?group={key}")
    assert "Replay 3 dead letters?" in page
    assert "shop.SoldOut" in page
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(.*?)">', page))
    # And meanwhile one more dies of it; When she presses the button
    (late,) = died(store)
    answer = flower.post("/dead-letters/replay", {name: html.unescape(value) for name, value in fields.items()})
    assert answer.status == 303
    # Then it is what the page said, and no more
    assert "alice@flower replayed 3 dead letters." in said(flower)
    assert state(store, *alike) == {"pending"}
    assert state(store, late, other) == {"dead"}
    assert deeds(store, alike[0]) == [("replay", "alice@flower")]
    # And the same form again does nothing
    flower.post("/dead-letters/replay", {name: html.unescape(value) for name, value in fields.items()})
    assert "alice@flower replayed 0 dead letters." in said(flower)
    assert len(deeds(store, alike[0])) == 1
    # Nor does one for a group that is gone
    flower.post("/dead-letters/replay", {"group": "0" * 8, "before": "1s"})
    assert "The failure group was gone already: another operator replayed or discarded it." in said(flower)


def test_a_long_replay_shows_how_far_it_is_and_can_be_stopped(flower: Flower, store: Store) -> None:
    # Given a replay at two a second
    ids = died(store, 5)
    answer = flower.post("/dead-letters/replay", {"handler": "hear", "before": "2036-01-01", "rate": "2"})
    assert answer.status == 303
    # Then the page shows how far it is
    page = flower.sees("/dead-letters")
    assert "alice@flower began this job" in page
    assert re.search(r"\d of 5", page)
    assert "<progress" in page
    # And the same again joins it
    flower.post("/dead-letters/replay", {"handler": "hear", "before": "2036-01-01", "rate": "2"})
    assert flower.sees("/dead-letters/jobs").count("data-running") == 1
    # When it is stopped, the rest is as it was
    (job,) = re.findall(r'name="job" value="(\w+)"', flower.sees("/dead-letters/jobs"))
    assert flower.post("/dead-letters/stop", {"job": job}).status == 303
    eventually(lambda: "data-running" not in flower.sees("/dead-letters/jobs"), "it has stopped")
    assert ">stopped</span>" in flower.sees("/dead-letters/jobs")
    assert "dead" in state(store, *ids)
    flower.post("/dead-letters/stop", {"job": job})
    assert "ended already" in said(flower)


def test_what_was_discarded_is_restored_from_the_page_of_the_event(flower: Flower, store: Store) -> None:
    (event_id,) = died(store)
    for verb in ("discard", "restore"):
        page = flower.sees(f"/events/{event_id}")
        assert f'name="do" value="{verb}"' in page
        fields = [("do", verb), letter(event_id), ("back", f"/events/{event_id}")]
        assert flower.post("/dead-letters/selected", fields).headers["Location"] == f"/events/{event_id}"
    assert said(flower, f"/events/{event_id}") == "alice@flower restored 1 discarded delivery."
    assert deeds(store, event_id) == [("discard", "alice@flower"), ("restore", "alice@flower")]
    assert state(store, event_id) == {"dead"}


def test_a_handler_is_paused_and_resumed(flower: Flower, store: Store) -> None:
    def hears() -> str:
        found = re.search(r'data-handler="hear".*?</tr>', flower.sees("/event-handlers"), re.DOTALL)
        return found[0] if found else ""

    for verb, word in (("pause", "paused by alice@flower"), ("resume", ">Pause</button>")):
        assert flower.post(f"/event-handlers/{verb}", {"handler": "hear"}).status == 303
        eventually(lambda word=word: word in hears(), word)  # type: ignore[misc]
    flower.post("/event-handlers/resume", {"handler": "hear"})
    assert "the handler was not paused" in said(flower, "/event-handlers")
    assert flower.post("/event-handlers/pause", {"handler": "nobody"}).status == 404
