"""Something failed at night: an operator sees it at a shell, finds out why in Flower, repairs it, and runs it again.

With EVENTS_TEST_SCREENSHOTS=docs the pictures of docs/ are made anew.
"""

from pathlib import Path

import bookshop

from events import publish
from support.browser import Browser, chromium
from support.flower import ALICE, Flower
from support.operator import Operator
from support.system import System

ORDERS = 12  # each with an invoice that can't be sent; two have no postcode


def the_night(system: System) -> None:
    """Orders come in while the mail server is down."""
    for number in range(1, ORDERS + 1):
        publish(
            bookshop.BooksOrdered(
                order=f"order-{number}",
                customer=f"customer-{number}@example.com",
                postcode="" if number % 6 == 0 else f"10{number:03}",
                articles=("Dune", "Solaris")[: 1 + number % 2],
            )
        )
    system.settled(3 * ORDERS)


def test_an_operator_finds_what_failed_at_night_and_why_and_runs_it_again(tmp_path: Path) -> None:
    with System("redis", tmp_path, handlers="bookshop", queue="bookshop").in_use() as system:
        flower = Flower(system)
        system.start_worker()
        flower.answers().hears()
        # Given a night in which handlers failed
        the_night(system)
        # When the operator asks at a shell, he sees that something is dead, and what it has in common
        operator = Operator(system.pipeline.settings.database_url)
        assert f"{ORDERS + 2} are dead" in operator.sees("status")
        assert "MailServerDown" in operator.sees("dead", "groups")
        with chromium(tmp_path / "profile", f"http://{ALICE}@127.0.0.1:{flower.port}") as browser:
            finds_the_cause(browser)
            # When the cause is repaired, and he replays the group, which asks first how many
            (tmp_path / bookshop.SWITCH).touch()
            browser.opens("/dead-letters")
            browser.clicks("#groups tbody tr:first-child a.btn-outline-primary")
            browser.sees(f"Replay {ORDERS} dead letters?")
            browser.clicks("#do-it")
            # Then the page says what was done, and by whom
            browser.sees(f"alice@flower replayed {ORDERS} dead letters", "#said")
            system.settled(3 * ORDERS)
            browser.sees_after_a_while("2 deliveries that were given up")
            sees_it_succeed(browser)
            assert browser.complaints() == []


def finds_the_cause(browser: Browser) -> None:
    # When he opens Flower and follows the tabs, there are two groups, the larger of which is the mail server
    browser.opens("/")
    browser.clicks_link("Events")
    browser.sees(f"{2 * ORDERS}", "#live-numbers .l-number:first-child")  # by itself, with all other numbers
    browser.sees(f"{ORDERS + 2}", "#live-numbers .l-bad")
    browser.sees("StockReserved", "#found")
    browser.sees("StockReserved", "#by-type")
    browser.keeps_a_picture("events.png")
    browser.clicks_link("Dead letters")
    browser.sees_after_a_while("AddressIncomplete", "#groups")
    assert "smtp.example.com:25 refused the connection" in browser.reads("#groups tbody tr:first-child")
    assert browser.broken_names() == []
    browser.keeps_a_picture("dead-letters.png")
    browser.at_night(True)
    browser.keeps_a_picture("dead-letters-dark.png")
    browser.at_night(False)
    browser.on_a_phone(True)
    for path in ("/dead-letters", "/events", "/event-handlers"):
        browser.opens(path)
        assert not browser.is_too_wide(), path
    browser.opens("/dead-letters")
    browser.keeps_a_picture("dead-letters-phone.png", 1000)
    browser.on_a_phone(False)
    # And one of its letters tells its story: published, tried twice, and why it was given up
    browser.opens("/dead-letters?error=mailserver")
    browser.clicks("#letters tbody tr:last-child td a")
    for words in ("published", "failed, dead", "attempt 2: bookshop.MailServerDown"):
        browser.sees(words, "#timeline")
    browser.clicks(".attempt summary")
    browser.sees("in deliver", ".attempt pre")
    browser.keeps_a_picture("event.png")


def sees_it_succeed(browser: Browser) -> None:
    browser.opens("/events?event=BooksOrdered")
    browser.clicks("#found tbody tr:last-child a")
    for words in ("replayed send_invoice by alice@flower", "succeeded send_invoice"):
        browser.sees(words, "#timeline")
    browser.sees("InvoiceSent", "#caused")
    # And from the event to its task in Flower, and back
    event = browser.reads(".l-sub code")
    browser.clicks("#deliveries a.task")
    browser.sees("Keyword arguments")
    browser.clicks(f"a[title='{event}']")
    browser.sees("TIMELINE")
    browser.opens("/event-handlers")
    browser.sees_after_a_while(f"{ORDERS}", "tr[data-handler=send_invoice]")
    browser.keeps_a_picture("handlers.png")
