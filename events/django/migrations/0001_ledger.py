"""The ledger's tables, and what the admin knows of them.

UpdateLedger names the newest migration of the ledger. With a newer one comes another migration of Django's, so that
`manage.py migrate` applies it, and `migrate --check` tells of it.
"""

from typing import Any, ClassVar

from django.db import migrations, models

from events.django.keys import DeliveryKey, EventId
from events.django.tables import UpdateLedger


class Migration(migrations.Migration):
    """Makes the tables by the ledger's own migrations; the models are not managed by Django."""

    initial = True
    dependencies: ClassVar[list[Any]] = []
    operations: ClassVar[list[Any]] = [
        UpdateLedger("0016"),
        migrations.CreateModel(
            name="TaskReturn",
            fields=[
                ("event_id", EventId(primary_key=True, serialize=False)),
                ("value", models.JSONField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", DeliveryKey(editable=False, primary_key=True, serialize=False)),
                ("event_id", EventId(verbose_name="event's id")),
                ("event_type", models.CharField(max_length=255, null=True, verbose_name="event")),
                ("handler", models.CharField(max_length=255)),
                ("queue", models.CharField(max_length=255)),
                ("state", models.CharField(max_length=16)),
                ("attempts", models.IntegerField()),
                ("due_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("worker", models.CharField(max_length=255, null=True)),
                ("error_type", models.CharField(max_length=255, null=True, verbose_name="error")),
                ("error", models.TextField(null=True, verbose_name="message")),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "db_table": "event_deliveries",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", EventId(primary_key=True, serialize=False)),
                ("event_type", models.CharField(max_length=255, verbose_name="event")),
                ("aggregate_id", models.CharField(max_length=255, null=True, verbose_name="aggregate")),
                ("created_at", models.DateTimeField(verbose_name="published at")),
                ("processed", models.BooleanField(verbose_name="fanned out")),
            ],
            options={
                "db_table": "event_store",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[],
            options={
                "permissions": (
                    ("replay_deadletter", "Can replay dead letters"),
                    ("discard_deadletter", "Can discard dead letters"),
                ),
                "proxy": True,
                "default_permissions": ("view",),
                "indexes": [],
                "constraints": [],
            },
            bases=("events_ledger.delivery",),
        ),
    ]
