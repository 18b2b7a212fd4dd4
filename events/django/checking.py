"""`manage.py check`: wrong settings are found before a worker or a publish() meets them."""

from typing import Any

from django.core.checks import CheckMessage, Error

from events.errors import ConfigurationError
from events.settings import load_settings


def check_settings(**__: Any) -> list[CheckMessage]:
    """The errors of settings.EVENTS, the environment and DATABASES, as far as they can be seen without connecting."""
    try:
        load_settings()
    except ConfigurationError as error:
        what, _, cure = str(error).partition("; ")
        return [Error(what, hint=cure or None, id="events.E001")]
    return []
