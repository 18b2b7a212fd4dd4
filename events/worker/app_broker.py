"""The broker of an application's own Celery app, as handlers use it."""

import re
from typing import Any

from celery import Celery

from events.settings import BROKERS

_SAME = {"pyamqp": "amqp"}


def broker_of(app: Celery) -> str:
    """The URL of the app's broker, as EVENTS_BROKER_URL has it; "" if handlers can't use that broker."""
    url: Any = app.conf.broker_url or ""
    url = str(url if isinstance(url, str) else ";".join(url))
    scheme, _, rest = url.partition("://")
    scheme = _SAME.get(scheme, scheme)
    if scheme not in BROKERS or app.conf.broker_use_ssl:
        return ""
    return re.sub(r"^(\w+://)(?=[/?#]|$)", r"\1localhost", f"{scheme}://{rest}")
