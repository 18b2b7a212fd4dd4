"""Reports dead letters to Sentry: each by itself, by the handler's own exception, with what the handler left in its
scope.

    sentry_sdk.init(dsn, integrations=[EventsIntegration()])

It needs sentry-sdk, and works beside its integration of Celery, which would report one error a message.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sentry_sdk
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.scope import add_global_event_processor, use_isolation_scope
from sentry_sdk.utils import event_from_exception

from events.errors import DeliveryFailed
from events.handling import Attempt, Delivery, around_handlers, on_attempt

if TYPE_CHECKING:
    from sentry_sdk.scope import Scope

# The scopes of handlers that have failed, until the outcome is known, by event id and handler.
_left: dict[tuple[UUID, str], "Scope"] = {}


class EventsIntegration(Integration):
    """For `sentry_sdk.init(integrations=[...])`. `retries`: report attempts that will be tried again, too, as
    warnings."""

    identifier = "events"
    origin = f"auto.queue.{identifier}"

    def __init__(self, *, retries: bool = False) -> None:
        self.retries = retries

    @staticmethod
    def setup_once() -> None:
        around_handlers(_in_scope)
        on_attempt(_report)
        add_global_event_processor(_without_repeats)
        ignore_logger("celery.app.trace")  # where a worker logs each dead letter, with its traceback


def _in_scope(deliveries: Sequence[Delivery]) -> Iterator[None]:
    """Give each call of a handler a scope of its own: neighbours in a message don't see its tags and breadcrumbs."""
    if _integration() is None:
        yield
        return
    with sentry_sdk.isolation_scope() as scope:
        _tag(scope, deliveries)
        try:
            yield
        except BaseException:
            _left.update({(one.event_id, one.handler): scope for one in deliveries})
            raise


def _report(attempt: Attempt) -> None:
    delivery, error = attempt.delivery, attempt.error
    scope = _left.pop((delivery.event_id, delivery.handler), None)
    integration = _integration()
    if integration is None or error is None or not attempt.has_failed:
        return
    if not attempt.is_final and not integration.retries:
        return
    mechanism = {"type": EventsIntegration.identifier, "handled": not attempt.is_final}
    with _entered(scope) as used:
        _tag(used, [delivery])
        event, hint = event_from_exception(error, sentry_sdk.get_client().options, mechanism)
        if not attempt.is_final:
            event["level"] = "warning"
        sentry_sdk.capture_event(event, hint)


def _entered(scope: "Scope | None") -> "AbstractContextManager[Scope]":
    return use_isolation_scope(scope) if scope is not None else sentry_sdk.isolation_scope()


def _tag(scope: "Scope", deliveries: Sequence[Delivery]) -> None:
    first = deliveries[0]
    scope.set_transaction_name(first.handler, source="task")
    scope.set_tag("events.handler", first.handler)
    scope.set_tag("events.type", first.event_type)
    if len(deliveries) > 1:
        scope.set_tag("events.count", len(deliveries))
        return
    scope.set_tag("events.id", str(first.event_id))
    scope.set_tag("events.attempt", first.attempt)
    scope.set_tag("events.correlation_id", first.correlation_id)


def _without_repeats(event: Any, hint: dict[str, Any]) -> Any:
    """Drop what Sentry's integration of Celery says of a message with dead letters: each was reported already."""
    error = (hint.get("exc_info") or (None, None, None))[1]
    return None if isinstance(error, DeliveryFailed) and _integration() is not None else event


def _integration() -> EventsIntegration | None:
    found = sentry_sdk.get_client().get_integration(EventsIntegration)
    return found if isinstance(found, EventsIntegration) else None
