"""`@handles` and `@translates`: which functions handle which events. `@provides`: what they ask for. Who hears of it.

May import: publishing, hooks, ledger, definition and the words below. Open first: `decorator`, then `registry`.
"""

from events.handling.arguments import as_limit, as_retry, place_of
from events.handling.decorator import handles
from events.handling.kinds import ASYNC_SQL, SQL, Delivery, Wanted
from events.handling.loading import load_handlers, other_events
from events.handling.needs import Needs, Step
from events.handling.observing import Attempt, Observing, around_handlers, on_attempt
from events.handling.parameters import injected, is_async
from events.handling.providing import Provider, provided_instead, provides
from events.handling.registry import (
    Handler,
    all_forms,
    all_handled,
    all_handlers,
    check_needs,
    handler_named,
    remember,
    without_handlers,
)
from events.handling.sessions import async_session_class, session_class
from events.handling.translating import translates

__all__ = [
    "ASYNC_SQL",
    "SQL",
    "Attempt",
    "Delivery",
    "Handler",
    "Needs",
    "Observing",
    "Provider",
    "Step",
    "Wanted",
    "all_forms",
    "all_handled",
    "all_handlers",
    "around_handlers",
    "as_limit",
    "as_retry",
    "async_session_class",
    "check_needs",
    "handler_named",
    "handles",
    "injected",
    "is_async",
    "load_handlers",
    "on_attempt",
    "other_events",
    "place_of",
    "provided_instead",
    "provides",
    "remember",
    "session_class",
    "translates",
    "without_handlers",
]
