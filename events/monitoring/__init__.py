"""What a process tells about itself: logs, metrics for Prometheus, health, and the port that serves them.

May import: pipeline and what is below, and flower, whose public name is here. Open first: `prometheus`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from events.monitoring.cached import Cached
    from events.monitoring.health import Condition, Health
    from events.monitoring.http import Server
    from events.monitoring.logs import DeliveryLogs, JsonFormatter, about
    from events.monitoring.plain_logs import make_plain
    from events.monitoring.prometheus import EventsCollector
    from events.monitoring.rates import Activity
    from events.monitoring.relay_counts import RelayCounts
    from events.monitoring.serving import broker_probe, make_server, server_of
    from events.monitoring.worker_counts import WorkerCounts
else:
    from events.lazily import rooms

    __getattr__ = rooms(
        __name__,
        {
            "cached": "Cached",
            "health": "Condition Health",
            "http": "Server",
            "logs": "DeliveryLogs JsonFormatter about",
            "plain_logs": "make_plain",
            "prometheus": "EventsCollector",
            "rates": "Activity",
            "relay_counts": "RelayCounts",
            "serving": "broker_probe make_server server_of",
            "worker_counts": "WorkerCounts",
        },
    )

__all__ = [
    "Activity",
    "Cached",
    "Condition",
    "DeliveryLogs",
    "EventsCollector",
    "Health",
    "JsonFormatter",
    "RelayCounts",
    "Server",
    "WorkerCounts",
    "about",
    "broker_probe",
    "make_plain",
    "make_server",
    "server_of",
]
