"""The tabs in Flower, over HTTP: who may look, who may act, and under which name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tornado.web import create_signed_value

from support.flower import Flower
from support.night import deeds, died, ledger, letter, nothing_is_dead, replays, state
from support.store import Store

PAGES = ["/events", "/dead-letters", "/dead-letters/replay", "/dead-letters/jobs", "/event-handlers"]
COOKIE_SECRET = "for-this-test-alone"


@dataclass
class Flowers:
    """One ledger, and a Flower for each way in which one is run."""

    store: Store
    private: Flower
    nobodys: Flower
    readers: Flower
    oauth: Flower


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flowers]:
    with ledger(tmp_path_factory.mktemp("flowers")) as (system, store):
        oauth = ["--auth=.*@example.com", "--auth-provider=flower.views.auth.GithubLoginHandler", "--oauth2-key=k",
                 "--oauth2-secret=s", "--oauth2-redirect-uri=http://127.0.0.1/login",
                 f"--cookie-secret={COOKIE_SECRET}"]  # fmt: skip
        made = Flowers(
            store,
            private=Flower(system),
            nobodys=Flower(system, login=""),
            readers=Flower(system, "--read-only", prefix="ops"),
            oauth=Flower(system, *oauth, login=""),
        )
        for flower in (made.private, made.nobodys, made.readers, made.oauth):
            flower.answers()
        yield made


@pytest.fixture
def store(flowers: Flowers) -> Store:
    return nothing_is_dead(flowers.store)


@pytest.fixture
def flower(flowers: Flowers, store: Store) -> Flower:
    """Alice's, who is logged in."""
    flowers.private.cookies.clear()
    return flowers.private


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
