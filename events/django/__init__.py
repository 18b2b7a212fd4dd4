"""Django: events in `transaction.atomic()`, handlers with the ORM on the delivery's transaction, `manage.py events`.

    INSTALLED_APPS = [..., "events.django"]
    EVENTS = {"BROKER_URL": "redis://..."}  # what docs/settings.md calls EVENTS_BROKER_URL; may be left out

- `configuration` reads `settings.EVENTS` and `settings.DATABASES`, `discovery` finds each application's `handlers.py`.
- `surroundings` publishes in the transaction that is open, on Django's own connection, by the engine that `home` makes.
- `lending` gives a handler's ORM the delivery's connection, by the classes of `wrappers`.
- `apps` is Django's door: it joins all this when Django has loaded the applications.

May import: cli and everything below. Open first: `apps`, then `surroundings` and `lending`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from events.django.starting import start
else:
    from events.lazily import rooms

    __getattr__ = rooms(__name__, {"starting": "start"})

__all__ = ["start"]
