"""Our application for INSTALLED_APPS: joins settings, publishing and handlers with Django once it has loaded all."""

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class EventsConfig(AppConfig):
    """The application; its label is no name that an application is likely to have."""

    name = "events.django"
    label = "events_ledger"
    verbose_name = "Domain events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from events.current_pipeline import make_pipelines_by
        from events.delivery import lend_to
        from events.django.checking import check_settings
        from events.django.configuration import DjangoSettings, ledger_schema
        from events.django.lending import DjangoHost, watch_others
        from events.django.models import lay_into
        from events.django.pipelines import make
        from events.django.tables import without_migrations
        from events.settings import settings_from

        settings_from(DjangoSettings())
        make_pipelines_by(make)
        lend_to(DjangoHost())
        connection_created.connect(watch_others, dispatch_uid="events.django")
        setting_changed.connect(_setting_changed, dispatch_uid="events.django")
        post_migrate.connect(without_migrations, sender=self, dispatch_uid="events.django")
        checks.register(check_settings)
        if schema := ledger_schema():
            lay_into(schema)


def _setting_changed(*, setting: str, **_: Any) -> None:
    """A test overrides a setting, or takes that back."""
    if setting in ("EVENTS", "DATABASES"):
        from events.current_pipeline import use_pipeline

        use_pipeline(None)
