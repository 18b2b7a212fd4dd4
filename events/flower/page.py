"""What all our pages have in common: Flower's login, one line for what goes wrong, a message after an action."""

import json
from http.client import responses
from typing import Any, ClassVar
from urllib.parse import urlencode

from flower.views import BaseHandler
from tornado.web import HTTPError, authenticated

from events.flower import formats
from events.flower.access import actor, why_nobody_acts
from events.flower.backend import Desk
from events.flower.complaints import Trouble

SAID = "events_said"  # cookie, signed by Flower: what the action did that led to this page
LONGEST_SAID = 600
LIVE = "X-Events-Live"  # header of what ledger-live.html asks for
RETRY = 5  # seconds after which a page that had no database is asked for again
ROUTES = ("ledger_events", "ledger_letters", "ledger_handlers")

__all__ = ["Action", "Page", "authenticated"]


class Page(BaseHandler):  # type: ignore[misc]
    """A page of ours. GET never changes anything.

    Of Flower's own handler it uses `render`, `write_error`, `current_user` and the check for cross-site requests.
    """

    tab: ClassVar[str] = ""
    _asked_who = False  # whether Flower has found out who asks

    def initialize(self, desk: Desk) -> None:
        self.desk = desk

    def get_current_user(self) -> Any:
        user = super().get_current_user()
        self._asked_who = True
        return user

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")  # it shows payloads
        self.set_header("Content-Security-Policy", "frame-ancestors 'none'")  # no other site may lure a click
        self.set_header("Referrer-Policy", "same-origin")

    def show(self, template: str, **values: Any) -> None:
        self.render(
            template,
            tab=self.tab,
            words=formats,
            here=self.request.uri,
            said=self._said(),
            why_not=why_nobody_acts(self.application.options),
            jobs=self.desk.jobs.recent(),
            letters_of=self._letters_of,
            live=LIVE,
            **values,
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Its own page in Flower's frame; 401 has to be Flower's, which asks for the password."""
        error = kwargs.get("exc_info", (None, None))[1]
        if status_code in (401, 500) or not isinstance(error, HTTPError):
            super().write_error(status_code, **kwargs)
            return
        if not self._asked_who:
            self.current_user = None  # as Flower does: an error page must not ask for the login again
        line = error.line if isinstance(error, Trouble) else error.get_message() or responses.get(status_code, "")
        if status_code == 503 and self.request.method == "GET":
            self.set_header("Refresh", RETRY)
        self.render("ledger-trouble.html", tab=self.tab, status=status_code, line=line)

    def say(self, line: str, *, well: bool = True) -> None:
        """Shown on top of the next page."""
        self.set_secure_cookie(SAID, json.dumps([well, line[:LONGEST_SAID]]), expires_days=None)

    def _letters_of(self, handler: str) -> str:
        """The address of a handler's dead letters, whatever stands in its name."""
        return f"{self.reverse_url('ledger_letters')}?{urlencode({'handler': handler})}"

    def _said(self) -> tuple[bool, str] | None:
        if self.request.headers.get(LIVE):  # a page that refreshes itself is not the next page
            return None
        try:
            well, line = json.loads(self.get_secure_cookie(SAID) or "null")
        except (ValueError, TypeError):
            return None
        self.clear_cookie(SAID)
        return bool(well), str(line)

    def asked_for(self, name: str, default: str = "") -> str:
        """Of the query string, as it is: Flower's own `get_argument` escapes what it gives."""
        return self.get_query_argument(name, default, strip=False) or default


class Action(Page):
    """What changes something: POST, by somebody who is known, and then back to a page of ours."""

    def prepare(self) -> None:
        super().prepare()
        if self.request.method == "POST" and (reason := why_nobody_acts(self.application.options)):
            raise Trouble(403, reason)

    def actor(self) -> str:
        return actor(self.application.options, self.current_user, self.request.headers.get("Authorization", ""))

    def field(self, name: str, default: str = "") -> str:
        return self.get_body_argument(name, default, strip=False) or default

    def back(self, otherwise: str) -> None:
        """To the page that the form was on, if it is one of ours: a form says what it likes."""
        target = self.field("back")
        ours = [self.reverse_url(name) for name in ROUTES]
        if not any(target == route or target.startswith((f"{route}?", f"{route}/")) for route in ours):
            target = self.reverse_url(otherwise)
        self.redirect(target, status=303)
