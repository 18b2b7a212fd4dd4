"""The Celery side: `celery -A events worker` runs deliveries as tasks, and the relay, bridges and metrics as steps.

May import: monitoring, pipeline and what is below. Open first: `app` and `host`, then `tasks` and `ledger_step`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from events.worker.app import build_app
    from events.worker.celery_app import LedgerApp
    from events.worker.config import check_celeryconfig, required_settings
    from events.worker.exits import is_run_by_celery
    from events.worker.installing import install
    from events.worker.plain_tasks.handlers import register_outboxes
    from events.worker.plain_tasks.outbox import outbox
    from events.worker.plain_tasks.transactional import TransactionalTask, transactional
else:
    from events.lazily import rooms

    __getattr__ = rooms(
        __name__,
        {
            "app": "build_app",
            "celery_app": "LedgerApp",
            "config": "check_celeryconfig required_settings",
            "exits": "is_run_by_celery",
            "installing": "install",
            "plain_tasks.handlers": "register_outboxes",
            "plain_tasks.outbox": "outbox",
            "plain_tasks.transactional": "TransactionalTask transactional",
        },
    )

__all__ = [
    "LedgerApp",
    "TransactionalTask",
    "build_app",
    "check_celeryconfig",
    "install",
    "is_run_by_celery",
    "outbox",
    "register_outboxes",
    "required_settings",
    "transactional",
]
