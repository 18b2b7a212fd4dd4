"""celeryconfig.py is the application's, as far as it leaves the promise whole."""

from types import ModuleType

import pytest

from events import ConfigurationError
from events.worker.config import check_celeryconfig


def config(**settings: object) -> ModuleType:
    module = ModuleType("celeryconfig")
    vars(module).update(settings)
    return module


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_acks_late", False),
        ("CELERY_ACKS_LATE", False),
        ("task_serializer", "pickle"),
        ("accept_content", ["json", "pickle"]),
        ("task_always_eager", True),
        ("task_reject_on_worker_lost", True),
        ("task_create_missing_queues", True),
        ("broker_url", "redis://:secret@elsewhere/0"),
        ("task_queues", []),
        ("task_time_limit", 5),
        ("worker_consumer", "mine:Consumer"),
        ("worker_pool", "gevent"),
    ],
)
def test_what_breaks_the_promise_is_refused_in_one_line_that_names_it(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_celeryconfig(config(**{name: value}))
    text = str(caught.value)
    assert text.startswith(f"celeryconfig.py: {name} = ")
    assert "\n" not in text
    assert "secret" not in text


def test_the_applications_own_choices_pass() -> None:
    check_celeryconfig(
        config(worker_concurrency=8, worker_send_task_events=False, worker_prefetch_multiplier=4, task_acks_late=True,
               accept_content=["json"], worker_max_tasks_per_child=100, worker_pool="threads")
    )  # fmt: skip
