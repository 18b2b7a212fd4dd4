"""The broker of an application's own Celery app, as handlers use it."""

import re
from typing import Any

from celery import Celery

from events.settings import BROKERS

_SAME = {"pyamqp": "amqp"}
_PREFIX = "global_keyprefix"  # an option of kombu's Redis transport; our keys have none, and would meet those of others


def why_unusable(app: Celery) -> str:
    """Why handlers can't use the broker of this app; "" if they can."""
    scheme, _ = _parts(app)
    if not scheme:
        return "it has none"
    if scheme not in BROKERS:
        return f"it is {scheme}, and they use {', '.join(BROKERS)}"
    if app.conf.broker_use_ssl:
        return "broker_use_ssl is set, and they know TLS by the URL alone, rediss:// or amqps:// with its options"
    if (app.conf.broker_transport_options or {}).get(_PREFIX):
        return f"broker_transport_options has {_PREFIX}, and their queues would be without it"
    return ""


def broker_of(app: Celery) -> str:
    """The URL of the app's broker, as EVENTS_BROKER_URL has it; "" if handlers can't use that broker."""
    if why_unusable(app):
        return ""
    scheme, rest = _parts(app)
    return re.sub(r"^(\w+://)(?=[/?#]|$)", r"\1localhost", f"{scheme}://{rest}")


def _parts(app: Celery) -> tuple[str, str]:
    """The scheme and the rest of the broker's URL; "" if there is none."""
    url: Any = app.conf.broker_url or ""
    url = str(url if isinstance(url, str) else ";".join(url))
    scheme, _, rest = url.partition("://")
    return _SAME.get(scheme, scheme), rest
