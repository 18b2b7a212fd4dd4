"""What all our pages have in common: Flower's login, an error page of one line, a message after an action."""

import json
from http.client import responses
from typing import Any, ClassVar
from urllib.parse import urlencode

from flower.views import BaseHandler
from tornado.web import HTTPError, authenticated

from events.flower import formats
from events.flower.access import actor, why_actions_are_off
from events.flower.backend import Backend
from events.flower.complaints import Complaint

SAID = "events_said"  # a cookie, signed by Flower: the message of the action that led to this page
LONGEST_SAID = 600  # characters
LIVE = "X-Events-Live"  # header of the requests of ledger-live.html
RETRY = 5  # seconds until the browser asks again for a page for which the database didn't answer
ROUTES = ("ledger_events", "ledger_letters", "ledger_handlers")

__all__ = ["Action", "Page", "authenticated"]


class Page(BaseHandler):  # type: ignore[misc]
    """One of our pages. GET never changes anything.

    Our pages use `render`, `write_error`, `current_user` and the check for cross-site requests of Flower's own handler.
    """

    tab: ClassVar[str] = ""
    _asked_who = False  # whether Flower has found out who asks

    def initialize(self, backend: Backend) -> None:
        self.backend = backend

    def get_current_user(self) -> Any:
        user = super().get_current_user()
        self._asked_who = True
        return user

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")  # the pages show the data of events
        self.set_header("Content-Security-Policy", "frame-ancestors 'none'")  # no site can lure a click
        self.set_header("Referrer-Policy", "same-origin")

    def show(self, template: str, **values: Any) -> None:
        """Render a template with these values, and with those that every page needs."""
        self.render(
            template,
            tab=self.tab,
            words=formats,
            here=self.request.uri,
            said=self._said(),
            why_not=why_actions_are_off(self.application.options),
            jobs=self.backend.jobs.recent(),
            letters_of=self._letters_of,
            live=LIVE,
            **values,
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """An error page of ours in Flower's frame; 401 is Flower's page, which asks for the password."""
        error = kwargs.get("exc_info", (None, None))[1]
        if status_code in (401, 500) or not isinstance(error, HTTPError):
            super().write_error(status_code, **kwargs)
            return
        if not self._asked_who:
            self.current_user = None  # as Flower does: an error page must not ask for the login again
        line = error.line if isinstance(error, Complaint) else error.get_message() or responses.get(status_code, "")
        if status_code == 503 and self.request.method == "GET":
            self.set_header("Refresh", RETRY)
        self.render("ledger-complaint.html", tab=self.tab, status=status_code, line=line)

    def say(self, line: str, *, well: bool = True) -> None:
        """Show this message on top of the next page."""
        self.set_secure_cookie(SAID, json.dumps([well, line[:LONGEST_SAID]]), expires_days=None)

    def _letters_of(self, handler: str) -> str:
        """The address of a handler's dead letters; escapes every character of its name."""
        return f"{self.reverse_url('ledger_letters')}?{urlencode({'handler': handler})}"

    def _said(self) -> tuple[bool, str] | None:
        if self.request.headers.get(LIVE):  # a page that refreshes itself must not take the message of the next page
            return None
        try:
            well, line = json.loads(self.get_secure_cookie(SAID) or "null")
        except (ValueError, TypeError):
            return None
        self.clear_cookie(SAID)
        return bool(well), str(line)

    def asked_for(self, name: str, default: str = "") -> str:
        """A field of the query string, not escaped: Flower's own `get_argument` escapes HTML."""
        return self.get_query_argument(name, default, strip=False) or default


class Action(Page):
    """A request that changes something: POST, by a user who is logged in, then a redirect to one of our pages."""

    def prepare(self) -> None:
        super().prepare()
        if self.request.method == "POST" and (reason := why_actions_are_off(self.application.options)):
            raise Complaint(403, reason)

    def actor(self) -> str:
        """The operator's name for the history."""
        return actor(self.application.options, self.current_user, self.request.headers.get("Authorization", ""))

    def field(self, name: str, default: str = "") -> str:
        """A field of the form, not escaped."""
        return self.get_body_argument(name, default, strip=False) or default

    def back(self, otherwise: str) -> None:
        """Redirect to the page that the form names, if that is one of our pages: a forged form may name any address."""
        target = self.field("back")
        ours = [self.reverse_url(name) for name in ROUTES]
        if not any(target == route or target.startswith((f"{route}?", f"{route}/")) for route in ours):
            target = self.reverse_url(otherwise)
        self.redirect(target, status=303)
