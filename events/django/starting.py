"""Sets Django up in programs that are none of Django's: the command `events`, and `celery -A events worker`."""

import os
import sys
from pathlib import Path

from events.errors import ConfigurationError
from events.text import first_line

APPLICATIONS = ("events.django", "events.django.apps.EventsConfig")


def start() -> None:
    """Set Django up if DJANGO_SETTINGS_MODULE names settings with `events.django` in INSTALLED_APPS.

    Raises:
        ConfigurationError: the settings can't be imported, or an application can't be loaded.
    """
    module = os.environ.get("DJANGO_SETTINGS_MODULE")
    if not module:
        return
    try:
        import django
        from django.apps import apps
        from django.conf import settings
    except ImportError:  # it is in the environment for another program
        return
    if apps.ready:
        return
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        if not is_installed(settings.INSTALLED_APPS):
            return
        django.setup()
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"DJANGO_SETTINGS_MODULE={module}: Django can't be set up: {type(error).__name__}: {first_line(error)}; "
            f"`python manage.py check` says more"
        ) from error


def is_installed(applications: object) -> bool:
    """Whether INSTALLED_APPS has our application."""
    return isinstance(applications, list | tuple) and any(name in APPLICATIONS for name in applications)
