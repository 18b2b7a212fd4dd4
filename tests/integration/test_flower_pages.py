"""The tabs in Flower, over HTTP: what is shown, also of what is evil, makes no sense or isn't there."""

import html
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from sqlalchemy import text

from events.flower.backend import NEWEST
from events.ledger.records import Failure, Subscription
from support.flower import Answer, Flower
from support.forwarder import Forwarder
from support.night import EVIL, died, ledger, letter, nothing_is_dead, replays, said
from support.store import Store
from support.system import System
from support.waiting import eventually


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Store, Flower]]:
    with ledger(tmp_path_factory.mktemp("flower")) as (system, store):
        yield system, store, Flower(system).answers()


@pytest.fixture
def store(night: tuple[System, Store, Flower]) -> Store:
    return nothing_is_dead(night[1])


@pytest.fixture
def flower(night: tuple[System, Store, Flower], store: Store) -> Flower:
    night[2].cookies.clear()
    return night[2]


@pytest.fixture
def database(night: tuple[System, Store, Flower]) -> Iterator[Forwarder]:
    """Can be cut off; its password is in the URL."""
    forwarder = Forwarder(night[1].url.replace("postgres@", "postgres:s3cret@"))
    yield forwarder
    forwarder.cut()


def test_nothing_that_is_stored_is_taken_for_markup(flower: Flower, store: Store) -> None:
    # Given a handler, an error, a place and a payload that are scripts
    name = f"<b>{EVIL}</b>"
    store.ledger.subscriptions.subscribe([Subscription(event_type="Sung", handler=name, queue="q", max_attempts=1)])
    (event_id,) = died(store, 1, Failure(EVIL, EVIL, EVIL, EVIL), handler=name)
    replays(flower, died(store)[0])  # after which everything is counted anew
    # Then every page shows them as text
    pages = ["/events", "/dead-letters", f"/dead-letters?handler={quote(name)}", f"/dead-letters?error={quote(EVIL)}",
             f"/events/{event_id}", "/event-handlers", f"/dead-letters/replay?handler={quote(name)}",
             f"/events?aggregate={quote(EVIL)}"]  # fmt: skip
    for path in pages:
        page = eventually(lambda path=path: (seen := flower.sees(path)) and "&lt;script&gt;" in seen and seen, path)  # type: ignore[misc]
        assert EVIL not in page, path
    # And so does the message after an action, and the line of an error
    fields = [("do", "discard"), letter(event_id, name)]
    assert flower.post("/dead-letters/selected", fields).status == 303
    assert EVIL not in flower.get(f"/dead-letters?since={quote(EVIL)}").text
    store.ledger.switches.unsubscribe(name, "after")


def test_what_makes_no_sense_is_one_line(flower: Flower) -> None:
    for path, status, words in (
        ("/events/17", 400, "is not an event id"),
        (f"/events/{uuid4()}", 404, "the ledger has no event"),
        ("/events?id=17", 400, "is not an event id"),
        ("/events?since=yesterday", 400, "is no time"),
        ("/dead-letters?before=99999999999999999d", 400, "is no time"),
        ("/dead-letters?group=nonsense", 404, "no dead letter is in group"),
        ("/dead-letters/replay?group=nonsense", 404, "no dead letter is in group"),
        ("/dead-letters/burn", 404, "no such page"),
    ):
        answer = flower.get(path)
        assert answer.status == status, path
        assert words in html.unescape(answer.line) or words == "no such page", path
        assert "Traceback" not in answer.text
    for path, fields, words in (
        ("/dead-letters/selected", [("do", "burn")], "is not an action"),
        ("/dead-letters/selected", [("do", "replay"), ("letter", "17 hear")], "is not an event id"),
        ("/dead-letters/replay", [("handler", "hear")], "up to which time"),
        ("/dead-letters/replay", [("before", "1s"), ("rate", "-1")], "is not a rate"),
        ("/dead-letters/replay", [("before", "1s"), ("rate", "nan")], "is not a rate"),
        ("/event-handlers/pause", [], "names no handler"),
    ):
        answer = flower.post(path, fields)
        assert answer.status == 400, path
        assert words in html.unescape(answer.line)
    flower.post("/dead-letters/selected", [("do", "replay")])
    assert said(flower) == "You ticked no dead letter, so nothing was done."


def test_events_are_found_and_lead_to_their_story(flower: Flower, store: Store) -> None:
    (event_id,) = died(store)
    assert str(event_id) in flower.sees("/events?event=Said&aggregate=a-1&since=1h")
    assert "No event matches" in flower.sees("/events?event=NeverSaid")
    assert flower.get(f"/events?id={event_id}").headers["Location"] == f"/events/{event_id}"
    # And what Flower takes for a task, since it is the root of one, leads there too
    assert flower.get(f"/task/{event_id}").headers["Location"] == f"/events/{event_id}"
    assert flower.get(f"/task/{uuid4()}").status == 404
    page = flower.sees(f"/events/{event_id}")
    for words in ("published", "failed, dead", "no more spice", "Traceback ..."):
        assert words in page


def test_the_newest_events_stand_there_before_anybody_searches(flower: Flower, store: Store) -> None:
    # Given some events more than the page shows
    ids = [store.publish() for _ in range(NEWEST + 5)]
    # When it is opened, the newest are there, the newest first
    newest = [str(one) for one in reversed(ids)][:NEWEST]
    page = eventually(lambda: newest[0] in (seen := flower.sees("/events")) and seen, "the newest are there")
    assert re.findall(r'data-key="([0-9a-f-]{36})"', page) == newest
    assert "data-live" in page
    # And those before them are a search, which shows what was asked for, and stays as it is
    (older,) = re.findall(r'href="(/events\?before=[^"]+)"', page)
    found = flower.sees(html.unescape(older))
    assert set(re.findall(r'data-key="([0-9a-f-]{36})"', found)) > {str(one) for one in ids[:5]}
    assert 'id="live-events" data-live' not in found
    assert "ledger-live" not in found
    assert "X-Events-Live" not in found


def test_numbers_of_one_page_are_of_one_moment(flower: Flower, store: Store) -> None:
    # Given events of one type, of which each dies
    before = store.count_of("event_store", "event_type = 'Sung'")
    store.subscribe("count", max_attempts=1, event_type="Sung")

    def shown() -> tuple[int, int] | None:
        """How many are stored, and dead."""
        row = re.search(r'data-key="Sung">.*?</tr>', flower.sees("/events"), re.DOTALL)
        numbers = re.findall(r'class="n">(?:<[^>]*>)?([\d…]+)', row[0]) if row else []
        return (int(numbers[0]), int(numbers[-1])) if numbers and "…" not in numbers else None

    for _ in range(5):
        died(store, 1, handler="count")
        # Then at no time more of them are dead than are stored, nor less
        seen = shown()
        assert seen is None or seen[0] - seen[1] == before
    eventually(lambda: shown() == (before + 5, 5), "all five")
    store.ledger.switches.unsubscribe("count", "after")


HOSTILE = "a/b?c=d&handler=hear#f %41 \"g\" 'h' <i>+é\N{HEAVY BLACK HEART} "


def test_a_handlers_name_leads_to_its_dead_letters_wherever_it_stands(flower: Flower, store: Store) -> None:
    # Given a dead letter of a handler with a name like that, and one of another handler
    store.ledger.subscriptions.subscribe([Subscription(event_type="Sung", handler=HOSTILE, queue="q", max_attempts=1)])
    (event_id,) = died(store, 1, handler=HOSTILE)
    (other,) = died(store)
    flower.post("/event-handlers/resume", {"handler": "hear"})  # after which everything is counted anew
    # Then on each page that names it, its name is a link
    link = f'href="/dead-letters?{urlencode({"handler": HOSTILE})}"'
    for path, times in (
        ("/events", 2),
        ("/event-handlers", 2),
        ("/dead-letters", 2),
        (f"/events/{event_id}", 4),
        (f"/dead-letters/replay?{urlencode({'handler': HOSTILE})}", 1),
    ):
        page = eventually(lambda path=path: link in (seen := flower.sees(path)) and seen, path)  # type: ignore[misc]
        assert page.count(link) >= times, path
    # And it leads to its letters, and no others
    found = flower.sees(f"/dead-letters?{urlencode({'handler': HOSTILE})}")
    assert str(event_id) in found
    assert str(other) not in found
    # And what is ticked there is what is meant
    assert flower.post("/dead-letters/selected", [("do", "discard"), letter(event_id, HOSTILE)]).status == 303
    assert said(flower).startswith("alice@flower discarded 1 dead letter.")
    store.ledger.switches.unsubscribe(HOSTILE, "after")


def test_a_page_that_refreshes_itself_leaves_the_message_to_the_next_page(flower: Flower, store: Store) -> None:
    replays(flower, died(store)[0])
    flower.get("/events", X_Events_Live="1")
    assert said(flower, "/events") == "alice@flower replayed 1 dead letter."


def test_flower_itself_never_waits_for_the_database(flower: Flower, store: Store) -> None:
    # Given a database in which somebody holds a lock, and a page that waits for it
    (event_id,) = died(store)
    with ThreadPoolExecutor(1) as pool, store.ledger.engine.connect() as connection, connection.begin() as held:
        connection.execute(text("LOCK TABLE event_attempts IN ACCESS EXCLUSIVE MODE"))
        waiting = pool.submit(flower.get, f"/events/{event_id}")
        eventually(lambda: waits_for_a_lock(store), "the page waits")
        # Then Flower's own pages are there, and ours that need no such lock
        for path in ("/healthcheck", "/workers", "/dead-letters"):
            assert flower.get(path).status == 200, path
        assert not waiting.done()
        # When the lock is gone, the page comes
        held.rollback()
        assert waiting.result().status == 200


def waits_for_a_lock(store: Store) -> bool:
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with store.ledger.engine.connect() as connection:
        return bool(connection.scalar(query))


def test_without_its_database_the_tabs_say_so_and_flower_lives_on(
    night: tuple[System, Store, Flower], store: Store, database: Forwarder
) -> None:
    # Given a Flower whose database goes away
    flower = Flower(night[0], database_url=database.url).answers()
    (event_id,) = died(store)
    assert flower.get(f"/events/{event_id}").status == 200
    database.cut()
    # Then each of our pages is one line, without the password
    for path in (f"/events/{event_id}", "/dead-letters", "/events", "/event-handlers"):
        answer = eventually(down(flower, path), f"{path} says that the database is away")
        assert "the database refused" in answer.line, path
        assert "s3cret" not in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["Refresh"], path  # it is asked for again
    refused = replays(flower, event_id)
    assert (refused.status, refused.headers["Refresh"]) == (503, None)
    # And Flower's own are there
    assert flower.get("/workers").status == 200
    # When it comes back, so do they
    database.heal()
    for path in ("/events", "/dead-letters"):
        eventually(lambda path=path: flower.get(path).status == 200, f"{path} is back")  # type: ignore[misc]


def down(flower: Flower, path: str) -> Callable[[], Answer | None]:
    """Numbers that were just counted are shown for some seconds more."""
    return lambda: answer if (answer := flower.get(path)).status == 503 else None
