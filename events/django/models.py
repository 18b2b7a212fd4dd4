"""The ledger's tables for the admin, and for queries. They are read, not written: the ledger has rules of its own.

`publish()` makes events; dead letters are replayed and discarded by `events dead`, or in the admin.
"""

from typing import Any, NoReturn

from django.db import models

from events.django.configuration import ledger_alias
from events.django.keys import DeliveryKey, EventId
from events.ledger import State

_WHY = "the ledger's rows are not written by models: publish() makes events, and `events dead` replays and discards"


class _OfLedger(models.Manager):
    def get_queryset(self) -> Any:
        return _ReadOnly(self.model, using=ledger_alias())


class _ReadOnly(models.QuerySet):
    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(_WHY)

    create = bulk_create = update = bulk_update = delete = get_or_create = update_or_create = _refuse


class _DeadLetters(_OfLedger):
    def get_queryset(self) -> Any:
        return super().get_queryset().filter(state=State.DEAD.value)


class _Row(models.Model):
    objects = _OfLedger()

    class Meta:
        abstract = True

    def save(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(_WHY)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(_WHY)


class Event(_Row):
    """A row of `event_store`. Its data is not shown here, where nothing would be masked; the admin's page has it."""

    id = EventId(primary_key=True)
    event_type = models.CharField("event", max_length=255)
    aggregate_id = models.CharField("aggregate", max_length=255, null=True)
    created_at = models.DateTimeField("published at")
    processed = models.BooleanField("fanned out")

    class Meta:
        managed = False
        db_table = "event_store"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.event_type} {self.id}"


class Delivery(_Row):
    """A row of `event_deliveries`: an event on its way to a handler."""

    id = DeliveryKey(primary_key=True, editable=False)
    event_id = EventId("event's id")
    event_type = models.CharField("event", max_length=255, null=True)
    handler = models.CharField(max_length=255)
    queue = models.CharField(max_length=255)
    state = models.CharField(max_length=16)
    attempts = models.IntegerField()
    due_at = models.DateTimeField()
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=255, null=True)
    error_type = models.CharField("error", max_length=255, null=True)
    error = models.TextField("message", null=True)

    class Meta:
        managed = False
        db_table = "event_deliveries"
        verbose_name_plural = "deliveries"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.event_type or 'event'} {self.event_id} -> {self.handler}"


class DeadLetter(Delivery):
    """A delivery that was given up."""

    objects = _DeadLetters()

    class Meta:
        proxy = True
        default_permissions = ("view",)
        permissions = (
            ("replay_deadletter", "Can replay dead letters"),
            ("discard_deadletter", "Can discard dead letters"),
        )


class TaskReturn(models.Model):
    """What a task of `events.django.task_backend` returned, if it wasn't None. Django manages this table."""

    event_id = EventId(primary_key=True)
    value = models.JSONField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.event_id)


def lay_into(schema: str) -> None:
    """The tables are in this schema of PostgreSQL, which is a setting, so that no migration says so."""
    for model, table in ((Event, "event_store"), (Delivery, "event_deliveries"), (DeadLetter, "event_deliveries")):
        model._meta.db_table = f'"{schema}"."{table}"'
