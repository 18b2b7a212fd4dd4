"""`@handles` and `@translates`: which functions handle which events, and what they ask for.

May import: publishing, definition and the words below. Open first: `decorator`, then `registry`.
"""

from events.handling.arguments import as_limit, as_retry, place_of
from events.handling.decorator import handles
from events.handling.loading import load_handlers, other_events
from events.handling.parameters import (
    ASYNC_SQL,
    SQL,
    Delivery,
    Wanted,
    async_session_class,
    injected,
    is_async,
    session_class,
)
from events.handling.registry import (
    Handler,
    all_forms,
    all_handled,
    all_handlers,
    handler_named,
    remember,
    without_handlers,
)
from events.handling.translating import translates

__all__ = [
    "ASYNC_SQL",
    "SQL",
    "Delivery",
    "Handler",
    "Wanted",
    "all_forms",
    "all_handled",
    "all_handlers",
    "as_limit",
    "as_retry",
    "async_session_class",
    "handler_named",
    "handles",
    "injected",
    "is_async",
    "load_handlers",
    "other_events",
    "place_of",
    "remember",
    "session_class",
    "translates",
    "without_handlers",
]
