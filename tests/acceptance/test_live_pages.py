"""Pages that refresh themselves: in place, and not while an operator is at them."""

from collections.abc import Iterator

import pytest

from support.browser import Browser, chromium
from support.flower import ALICE, Flower
from support.forwarder import Forwarder
from support.night import died, ledger
from support.store import Store
from support.waiting import eventually

STATE = "#live-state"
ROUNDS = 8000  # ms, in which a page has refreshed itself twice


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Forwarder, Browser]]:
    """A ledger, the way to it that Flower takes, and a browser."""
    with ledger(tmp_path_factory.mktemp("live")) as (system, store):
        forwarder = Forwarder(store.url.replace("postgres@", "postgres:s3cret@"))
        flower = Flower(system, database_url=forwarder.url).answers()
        with chromium(tmp_path_factory.mktemp("profile"), f"http://{ALICE}@127.0.0.1:{flower.port}") as browser:
            yield store, forwarder, browser
        forwarder.cut()


@pytest.fixture
def store(night: tuple[Store, Forwarder, Browser]) -> Store:
    return night[0]


@pytest.fixture
def browser(night: tuple[Store, Forwarder, Browser]) -> Browser:
    """At the page of events, which is marked, to tell whether it is loaded anew."""
    browser = night[2]
    browser.opens("/events")
    browser.sees("This page refreshes itself.", STATE)
    browser.tells("window.mark = 1")
    return browser


def newest(browser: Browser) -> str:
    return str(browser.tells("return document.querySelector('#found tr[data-key]')?.dataset.key || ''"))


def is_as_it_was(browser: Browser) -> bool:
    """It was not loaded anew."""
    return bool(browser.tells("return window.mark === 1"))


def two_rounds(browser: Browser) -> None:
    """Wait until the page could have refreshed itself."""
    begun = browser.tells("return performance.now()")
    eventually(lambda: browser.tells("return performance.now()") > begun + ROUNDS, "two rounds")


def shows(browser: Browser, store: Store) -> str:
    """A new event, which the page shows by itself."""
    event_id = str(store.publish())
    eventually(lambda: newest(browser) == event_id, "the newest event stands there")
    return event_id


def test_the_newest_events_come_by_themselves(browser: Browser, store: Store) -> None:
    # Given a page of events that was scrolled, with the focus on one of them
    first = shows(browser, store)
    browser.tells("document.querySelector('#found tr[data-key] a').focus(); window.scrollTo(0, 120)")
    # When there are others
    shows(browser, store)
    # Then they stand above it; and the page is where it was, and the focus, too
    assert is_as_it_was(browser)
    assert browser.tells("return document.activeElement.closest('tr').dataset.key") == first
    assert browser.tells("return window.scrollY") > 0
    # And so do numbers
    died(store)
    browser.sees("1", "tr[data-key=hear] .l-bad")
    assert is_as_it_was(browser)


def test_nothing_moves_while_somebody_searches(browser: Browser, store: Store) -> None:
    # Given somebody who types a search
    before = shows(browser, store)
    browser.types("order-", "#find-aggregate")
    store.publish()
    # Then the page stays as it is, and says why
    browser.sees("This page doesn't refresh while you search.", STATE)
    two_rounds(browser)
    assert newest(browser) == before
    assert browser.tells("return document.getElementById('find-aggregate').value") == "order-"
    # When he goes away without a search, it goes on
    browser.tells("var f = document.getElementById('find-aggregate'); f.value = ''; f.blur()")
    shows(browser, store)
    # And what was searched for stays as it was found
    browser.opens("/events?aggregate=a-1")
    found = newest(browser)
    store.publish()
    two_rounds(browser)
    assert newest(browser) == found


def test_what_is_marked_stays_marked(browser: Browser, store: Store) -> None:
    # Given somebody who marks an id, to copy it
    before = shows(browser, store)
    browser.tells("getSelection().selectAllChildren(document.querySelector('#found code'))")
    store.publish()
    browser.sees("This page doesn't refresh while text is selected.", STATE)
    assert browser.tells("return getSelection().toString()") == before
    # When he is done, it goes on
    browser.tells("getSelection().removeAllRanges()")
    shows(browser, store)


def test_a_page_that_nobody_sees_asks_for_nothing(browser: Browser, store: Store) -> None:
    # Given a page behind others
    before = shows(browser, store)
    browser.is_hidden(True)
    browser.tells("performance.clearResourceTimings()")
    event_id = str(store.publish())
    # Then it asks for nothing
    two_rounds(browser)
    assert browser.tells("return performance.getEntriesByType('resource').length") == 0
    assert newest(browser) == before
    # When it is in front again, it is as new as ever
    browser.is_hidden(False)
    eventually(lambda: newest(browser) == event_id, "it has caught up")


def test_the_database_goes_and_comes_back(
    browser: Browser, store: Store, night: tuple[Store, Forwarder, Browser]
) -> None:
    # Given a page of events; When the database can't be reached any more
    before = shows(browser, store)
    night[1].cut()
    # Then the page says so, without a password, and what it showed is there
    browser.sees("the database refused", STATE)
    assert "s3cret" not in browser.reads(STATE)
    assert newest(browser) == before
    # When it is back, so is the page
    night[1].heal()
    browser.sees("This page refreshes itself.", STATE)
    shows(browser, store)
    assert is_as_it_was(browser)


def test_handlers_refresh_themselves_too(browser: Browser, store: Store) -> None:
    # Given the page of handlers, on which nothing is paused
    browser.opens("/event-handlers")
    browser.sees("Pause", "tr[data-handler=hear]")
    browser.tells("window.mark = 1")
    # When another operator pauses one, the page shows it
    store.ledger.switches.pause("hear", "bob")
    browser.sees("paused by bob", "tr[data-handler=hear]")
    assert is_as_it_was(browser)
    store.ledger.switches.resume("hear", "bob")
