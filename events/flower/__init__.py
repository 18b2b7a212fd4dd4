"""Three tabs in Flower: Events, Dead letters, Handlers. In flowerconfig.py, beside your application:

    from events.monitoring.flower import install; install()

The pages ask the same core that the command `events` asks, and hold no SQL. They obey Flower's login, its protection
against cross-site requests and its read-only mode. No other folder of this package imports Flower or tornado.

May import: monitoring, pipeline and what is below. Open first: `installing`, then `routes`.
"""

from events.flower.installing import install

__all__ = [
    "install",
]
