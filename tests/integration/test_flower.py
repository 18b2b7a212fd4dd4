"""The tabs in Flower, over HTTP: who may act, what a form may ask for, and what is shown when something is wrong."""

import html
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from tornado.web import create_signed_value

from events.envelope import Envelope
from events.history import EventRecord
from events.letters import DeadLetterFilter
from events.records import Failure, Subscription
from support.flower import Answer, Flower
from support.forwarder import Forwarder
from support.store import Store
from support.system import System
from support.waiting import eventually

PAGES = ["/events", "/dead-letters", "/dead-letters/replay", "/dead-letters/jobs", "/event-handlers"]
EVIL = "<script>alert(1)</script>"
COOKIE_SECRET = "for-this-test-alone"
WHY = Failure("shop.SoldOut", "no more spice", "Traceback ...\nSoldOut", "shop.stock.take")


@dataclass
class Flowers:
    """One ledger, and a Flower for each way in which one is run."""

    store: Store
    database: Forwarder
    private: Flower
    nobodys: Flower
    readers: Flower
    oauth: Flower
    cut_off: Flower


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flowers]:
    with System("redis", tmp_path_factory.mktemp("flowers")).in_use() as system:
        url = system.environment["EVENTS_DATABASE_URL"]
        store = Store(url)
        store.subscribe("hear", max_attempts=1)
        database = Forwarder(url.replace("postgres@", "postgres:s3cret@"))
        oauth = ["--auth=.*@example.com", "--auth-provider=flower.views.auth.GithubLoginHandler", "--oauth2-key=k",
                 "--oauth2-secret=s", "--oauth2-redirect-uri=http://127.0.0.1/login",
                 f"--cookie-secret={COOKIE_SECRET}"]  # fmt: skip
        made = Flowers(
            store,
            database,
            private=Flower(system, "--basic-auth=alice:secret,bob:pw"),
            nobodys=Flower(system, login=""),
            readers=Flower(system, "--read-only", prefix="ops"),
            oauth=Flower(system, *oauth, login=""),
            cut_off=Flower(system, database_url=database.url),
        )
        for flower in (made.private, made.nobodys, made.readers, made.oauth, made.cut_off):
            flower.answers()
        yield made
        database.cut()
        store.ledger.close()


@pytest.fixture
def store(flowers: Flowers) -> Iterator[Store]:
    """Nothing is dead at first."""
    flowers.store.ledger.dead.discard(DeadLetterFilter(), "before")
    return flowers.store


@pytest.fixture
def flower(flowers: Flowers, store: Store) -> Flower:
    """Alice's, who is logged in."""
    flowers.private.cookies.clear()
    return flowers.private


def died(store: Store, count: int = 1, why: Failure = WHY, handler: str = "hear") -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    for event_id in ids:
        kind = "Said" if handler == "hear" else "Sung"
        with store.ledger.events.begin() as connection:
            data = json.dumps({"words": EVIL})
            store.ledger.events.append(
                connection, [Envelope(event_id, "a-1", kind, data, 1, datetime.now(UTC), 1, "{}")]
            )
        (wakeup,) = [one for one in store.take() if one.event_id == event_id]
        assert store.ledger.inbox.bury(store.claim(wakeup), why)
    return ids


def letter(event_id: UUID, handler: str = "hear") -> tuple[str, str]:
    return "letter", f"{event_id} {handler}"


def event(store: Store, event_id: UUID) -> EventRecord:
    found = store.ledger.history.event(event_id)
    assert found is not None
    return found


def deeds(store: Store, event_id: UUID) -> list[tuple[str, str]]:
    """What was done to it, and by whom."""
    return [(one.action, one.actor) for one in event(store, event_id).actions]


def state(store: Store, *ids: UUID) -> set[str]:
    return {store.row(event_id, "hear").state for event_id in ids}


def replays(flower: Flower, event_id: UUID, **headers: str) -> Answer:
    return flower.post("/dead-letters/selected", [("do", "replay"), letter(event_id)], **headers)


def said(flower: Flower, page: str = "/dead-letters") -> str:
    """The message on top of the next page."""
    found = re.search(r'id="said">(.*?)</div>', flower.sees(page), re.DOTALL)
    return html.unescape(found[1]) if found else ""


# --- Who may


def test_every_page_wants_the_login(flower: Flower, store: Store) -> None:
    (event_id,) = died(store)
    for path in [*PAGES, f"/events/{event_id}"]:
        for login in ("", "alice:wrong"):
            answer = flower.get(path, login=login)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="flower"'), path
        assert flower.get(path).status == 200, path
    assert flower.post("/dead-letters/selected", [("do", "replay"), letter(event_id)], login="alice:no").status == 401
    assert state(store, event_id) == {"dead"}


def test_a_form_of_another_site_is_refused(flower: Flower, store: Store) -> None:
    (event_id,) = died(store)
    for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "none"}):
        assert replays(flower, event_id, **headers).status == 403, headers
    assert state(store, event_id) == {"dead"}
    assert replays(flower, event_id, Sec_Fetch_Site="same-origin").status == 303
    assert state(store, event_id) == {"pending"}


def test_no_other_site_may_frame_it_and_nobody_keeps_it(flower: Flower) -> None:
    answer = flower.get("/dead-letters")
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("which", "word"), [("nobodys", "--basic-auth"), ("readers", "--read-only")])
def test_who_may_only_look_sees_no_buttons_and_can_do_nothing(
    which: str, word: str, flowers: Flowers, store: Store
) -> None:
    # Given a Flower without a login, or one that is read-only
    flower: Flower = getattr(flowers, which)
    (event_id,) = died(store)
    # Then its pages are there, say why there is nothing to press, and have nothing to press
    for path in ("/dead-letters", f"/events/{event_id}", "/event-handlers", "/dead-letters/replay"):
        page = flower.sees(path)
        assert word in page
        assert 'method="post"' not in page
    # And a form that comes all the same is refused with the same line
    for path, fields in (
        ("/dead-letters/selected", [("do", "replay"), letter(event_id)]),
        ("/dead-letters/discard", [("before", "1s")]),
        ("/dead-letters/stop", [("job", "1")]),
        ("/event-handlers/pause", [("handler", "hear")]),
    ):
        answer = flower.post(path, fields)
        assert answer.status == 403, path
        assert word in answer.line
    assert state(store, event_id) == {"dead"}


def test_links_keep_flowers_url_prefix(flowers: Flowers, store: Store) -> None:
    (event_id,) = died(store)
    assert f'href="/ops/events/{event_id}"' in flowers.readers.sees("/dead-letters")
    assert 'href="/ops/dead-letters"' in flowers.readers.sees("/workers")


def test_with_oauth_it_is_the_account_that_acts(flowers: Flowers, store: Store) -> None:
    flower = flowers.oauth
    (event_id,) = died(store)
    # Given nobody, he is sent to log in, and may not act
    flower.cookies.clear()
    assert flower.get("/dead-letters").status == 302
    assert replays(flower, event_id).status == 403
    # Given an account that is not of the house
    flower.cookies["user"] = create_signed_value(COOKIE_SECRET, "user", "eve@evil.example").decode()
    assert flower.get("/dead-letters").status == 302
    # Given one that is: without the page's token nothing happens
    flower.cookies["user"] = create_signed_value(COOKIE_SECRET, "user", "eve@example.com").decode()
    page = flower.sees("/dead-letters")
    assert replays(flower, event_id).status == 403
    assert state(store, event_id) == {"dead"}
    # And with it, it is done, under that name
    token = re.search(r'name="_xsrf" value="(.*?)"', page)
    assert token
    fields = [("do", "replay"), letter(event_id), ("_xsrf", token[1])]
    assert flower.post("/dead-letters/selected", fields).status == 303
    assert deeds(store, event_id) == [("replay", "eve@example.com")]


# --- What is done


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
    assert "somebody was faster" in said(flower)


def test_ticked_letters_are_replayed_and_what_fails_again_is_marked(flower: Flower, store: Store) -> None:
    first, second, third = died(store, 3)
    fields = [("do", "replay"), letter(first), letter(second), ("back", "/dead-letters?handler=hear")]
    answer = flower.post("/dead-letters/selected", fields)
    assert (answer.status, answer.headers["Location"]) == (303, "/dead-letters?handler=hear")
    assert said(flower) == "2 deliveries replayed by alice@flower."
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
    assert "3 deliveries replayed by alice@flower" in said(flower)
    assert state(store, *alike) == {"pending"}
    assert state(store, late, other) == {"dead"}
    assert deeds(store, alike[0]) == [("replay", "alice@flower")]
    # And the same form again does nothing
    flower.post("/dead-letters/replay", {name: html.unescape(value) for name, value in fields.items()})
    assert "0 deliveries" in said(flower)
    assert len(deeds(store, alike[0])) == 1
    # Nor does one for a group that is gone
    flower.post("/dead-letters/replay", {"group": "0" * 8, "before": "1s"})
    assert "somebody was faster" in said(flower)


def test_a_long_replay_shows_how_far_it_is_and_can_be_stopped(flower: Flower, store: Store) -> None:
    # Given a replay at two a second
    ids = died(store, 5)
    answer = flower.post("/dead-letters/replay", {"handler": "hear", "before": "2036-01-01", "rate": "2"})
    assert answer.status == 303
    # Then the page shows how far it is
    page = flower.sees("/dead-letters")
    assert "begun by alice@flower" in page
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
    assert said(flower, f"/events/{event_id}") == "1 delivery restored by alice@flower."
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
    assert "it was not paused" in said(flower, "/event-handlers")
    assert flower.post("/event-handlers/pause", {"handler": "nobody"}).status == 404


# --- What is shown


def test_nothing_that_is_stored_is_taken_for_markup(flower: Flower, store: Store) -> None:
    # Given a handler, an error, a place and a payload that are scripts
    name = f"<b>{EVIL}</b>"
    store.ledger.subscriptions.subscribe([Subscription("Sung", name, "q", 1)])
    (event_id,) = died(store, 1, Failure(EVIL, EVIL, EVIL, EVIL), handler=name)
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
        ("/events/17", 400, "no event id"),
        (f"/events/{uuid4()}", 404, "the ledger has no event"),
        ("/events?id=17", 400, "no event id"),
        ("/events?since=yesterday", 400, "is no time"),
        ("/dead-letters?before=99999999999999999d", 400, "is no time"),
        ("/dead-letters?group=nonsense", 404, "no dead letter is of group"),
        ("/dead-letters/replay?group=nonsense", 404, "no dead letter is of group"),
        ("/dead-letters/burn", 404, "no such page"),
    ):
        answer = flower.get(path)
        assert answer.status == status, path
        assert words in html.unescape(answer.line) or words == "no such page", path
        assert "Traceback" not in answer.text
    for path, fields, words in (
        ("/dead-letters/selected", [("do", "burn")], "nothing that can be done"),
        ("/dead-letters/selected", [("do", "replay"), ("letter", "17 hear")], "no event id"),
        ("/dead-letters/replay", [("handler", "hear")], "up to when"),
        ("/dead-letters/replay", [("before", "1s"), ("rate", "-1")], "no rate"),
        ("/dead-letters/replay", [("before", "1s"), ("rate", "nan")], "no rate"),
        ("/event-handlers/pause", [], "which handler"),
    ):
        answer = flower.post(path, fields)
        assert answer.status == 400, path
        assert words in html.unescape(answer.line)
    flower.post("/dead-letters/selected", [("do", "replay")])
    assert said(flower) == "Nothing was ticked, so nothing was done."


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


def test_without_its_database_the_tabs_say_so_and_flower_lives_on(flowers: Flowers, store: Store) -> None:
    # Given a Flower whose database goes away
    flower = flowers.cut_off
    (event_id,) = died(store)
    assert flower.get(f"/events/{event_id}").status == 200
    flowers.database.cut()
    # Then each of our pages is one line, without the password
    for path in (f"/events/{event_id}", "/dead-letters", "/events", "/event-handlers"):
        answer = eventually(down(flower, path), f"{path} says that the database is away")
        assert "the database refused" in answer.line, path
        assert "s3cret" not in answer.text
        assert "Traceback" not in answer.text
    assert replays(flower, event_id).status == 503
    # And Flower's own are there
    assert flower.get("/workers").status == 200
    # When it comes back, so do they
    flowers.database.heal()
    for path in ("/events", "/dead-letters"):
        eventually(lambda path=path: flower.get(path).status == 200, f"{path} is back")  # type: ignore[misc]


def down(flower: Flower, path: str) -> Callable[[], Answer | None]:
    """Numbers that were just counted are shown for some seconds more."""
    return lambda: answer if (answer := flower.get(path)).status == 503 else None
