"""The ledger in Django's admin: events, deliveries and dead letters are read; dead letters are replayed and discarded.

Masked fields are hidden. Who may look has Django's permission `view_...`, and who may act `replay_deadletter` or
`discard_deadletter`; nobody adds, changes or deletes rows. What is listed is found by the ledger's indexes.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join

from events.current_pipeline import get_pipeline
from events.django.models import DeadLetter, Delivery, Event
from events.ledger import DeadLetterFilter, State, timeline
from events.text import plural

_MOST = 10_000  # rows that are counted for the pages of a list


class _Pages(Paginator):
    """Counts no further than people turn pages: a ledger may hold millions of rows."""

    @cached_property
    def count(self) -> int:
        return len(self.object_list.values_list("pk", flat=True).order_by()[:_MOST])


class _ByHandler(admin.SimpleListFilter):
    title, parameter_name = "handler", "handler"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(get_pipeline().ledger.subscriptions.paces())]

    def queryset(self, _: Any, rows: Any) -> Any:
        return rows.filter(handler=self.value()) if self.value() else rows


class _ByEvent(admin.SimpleListFilter):
    title, parameter_name = "event", "event_type"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(get_pipeline().ledger.subscriptions.event_types())]

    def queryset(self, _: Any, rows: Any) -> Any:
        return rows.filter(event_type=self.value()) if self.value() else rows


class _ByState(admin.SimpleListFilter):
    title, parameter_name = "state", "state"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(state.value, state.value) for state in State]

    def queryset(self, _: Any, rows: Any) -> Any:
        return rows.filter(state=self.value()) if self.value() else rows


class _ReadOnly(admin.ModelAdmin):
    list_display: tuple[Any, ...] = ()
    list_filter: tuple[Any, ...] = ()
    fields: tuple[Any, ...] = ()
    readonly_fields: tuple[Any, ...] = ()
    paginator = _Pages
    show_full_result_count = False
    list_per_page = 50
    search_help_text = "The id of an event, in full"

    def has_add_permission(self, *_: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any) -> bool:
        return False

    def has_delete_permission(self, *_: Any) -> bool:
        return False

    def get_search_results(self, _: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:
        return (self.found(queryset, search_term.strip()) if search_term.strip() else queryset), False

    def found(self, rows: Any, wanted: str) -> Any:
        event_id = _as_id(wanted)
        return rows.filter(event_id=event_id) if event_id else rows.none()


@admin.register(Event)
class EventAdmin(_ReadOnly):
    """Events, newest first; and each with its data, its deliveries, and all that happened to it."""

    list_display = ("event_type", "aggregate_id", "created_at", "processed", "id")
    list_filter = (_ByEvent,)
    search_fields = ("id", "aggregate_id")
    search_help_text = "The id of an event, or of its aggregate, in full"
    ordering = ("-id",)
    fields = (
        "id",
        "event_type",
        "aggregate_id",
        "created_at",
        "processed",
        "data",
        "metadata",
        "deliveries",
        "history",
    )
    readonly_fields = ("data", "metadata", "deliveries", "history")

    def found(self, rows: Any, wanted: str) -> Any:
        event_id = _as_id(wanted)
        return rows.filter(id=event_id) if event_id else rows.filter(aggregate_id=wanted)

    @admin.display(description="data")
    def data(self, event: Event) -> str:
        return _shown(get_pipeline().history.event(event.pk).data)

    @admin.display(description="metadata")
    def metadata(self, event: Event) -> str:
        return _shown(get_pipeline().history.event(event.pk).metadata)

    @admin.display(description="deliveries")
    def deliveries(self, event: Event) -> str:
        rows = (
            (_link(Delivery, f"{event.pk}~{one.handler}", one.handler), one.state, one.counted, one.error[:200])
            for one in get_pipeline().history.event(event.pk).deliveries
        )
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}: {}, attempts {} {}</li>", rows))

    @admin.display(description="what happened")
    def history(self, event: Event) -> str:
        rows = (
            (one.at.isoformat(" ", "milliseconds"), one.what, one.handler, one.who, one.detail)
            for one in timeline(get_pipeline().history.event(event.pk))
        )
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{} {} {} {} {}</li>", rows))


@admin.register(Delivery)
class DeliveryAdmin(_ReadOnly):
    """Deliveries, those of the newest events first."""

    list_display: tuple[Any, ...] = (
        "event_type",
        "handler",
        "state",
        "attempts",
        "created_at",
        "finished_at",
        "error_type",
    )
    list_filter: tuple[Any, ...] = (_ByState, _ByHandler, _ByEvent)
    search_fields = ("event_id",)
    ordering = ("-event_id",)
    fields: tuple[Any, ...] = (
        "event", "event_type", "handler", "queue", "state", "attempts", "created_at", "due_at", "started_at",
        "finished_at", "worker", "error_type", "error",
    )  # fmt: skip
    readonly_fields: tuple[Any, ...] = ("event",)

    @admin.display(description="event's id")
    def event(self, delivery: Delivery) -> str:
        return _link(Event, str(delivery.event_id), str(delivery.event_id))


@admin.register(DeadLetter)
class DeadLetterAdmin(DeliveryAdmin):
    """Dead letters, newest first."""

    list_display = ("event_type", "handler", "attempts", "finished_at", "error_type", "message")
    list_filter = (_ByHandler, _ByEvent)
    ordering = ("-finished_at",)
    fields = (*DeliveryAdmin.fields, "traceback", "data")
    readonly_fields = ("event", "traceback", "data")
    actions = ("replay", "discard")

    @admin.display(description="message")
    def message(self, letter: DeadLetter) -> str:
        return (letter.error or "").partition("\n")[0][:120]

    @admin.display(description="traceback")
    def traceback(self, letter: DeadLetter) -> str:
        return format_html("<pre>{}</pre>", _letter(letter).traceback)

    @admin.display(description="the event's data")
    def data(self, letter: DeadLetter) -> str:
        return _shown(_letter(letter).event_data)

    def has_replay_permission(self, request: Any) -> bool:
        """Whether the user may run dead letters again."""
        return bool(request.user.has_perm("events_ledger.replay_deadletter"))

    def has_discard_permission(self, request: Any) -> bool:
        """Whether the user may give them up."""
        return bool(request.user.has_perm("events_ledger.discard_deadletter"))

    @admin.action(description="Replay selected dead letters", permissions=["replay"])
    def replay(self, request: Any, chosen: Any) -> None:
        self._act(request, chosen, get_pipeline().dead_letters.replay, "replayed")

    @admin.action(description="Discard selected dead letters", permissions=["discard"])
    def discard(self, request: Any, chosen: Any) -> None:
        self._act(request, chosen, get_pipeline().dead_letters.discard, "discarded")

    def _act(self, request: Any, chosen: Any, act: Callable[[DeadLetterFilter, str], int], did: str) -> None:
        by_handler: dict[str, list[UUID]] = defaultdict(list)
        for event_id, handler in chosen.values_list("event_id", "handler"):
            by_handler[handler].append(event_id)
        actor = f"{request.user.get_username()} (admin)"
        count = sum(
            act(DeadLetterFilter(event_ids=tuple(event_ids), handler=handler), actor)
            for handler, event_ids in by_handler.items()
        )
        self.message_user(
            request, f"{plural(count, 'dead letter')} {did}", messages.SUCCESS if count else messages.WARNING
        )


def _letter(letter: DeadLetter) -> Any:
    return get_pipeline().dead_letters.show(letter.event_id, letter.handler)[0]


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _shown(data: str) -> str:
    with suppress(ValueError):  # a foreign program may have written something else
        data = json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    return format_html("<pre>{}</pre>", data)


def _link(model: Any, key: str, text: str) -> str:
    try:
        to = reverse(f"admin:events_ledger_{model._meta.model_name}_change", args=[key])
    except NoReverseMatch:  # the application's admin is under another name
        return text
    return format_html('<a href="{}">{}</a>', to, text)
