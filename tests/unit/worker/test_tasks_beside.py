"""Which app `celery -A events` is, where plain tasks stand beside handlers."""

from typing import Any

import pytest
from celery import Celery

from events.worker.tasks_beside import plain_tasks_of, why_not


def app_with(**settings: Any) -> Celery:
    app = Celery("press", set_as_current=False)
    app.conf.update(settings)
    return app


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://h/0", ""),
        ("pyamqp://h//", ""),
        ("sentinel://h:26379", ""),
        (["amqp://a//", "amqp://b//"], ""),
        (None, "it has no broker_url"),
        ("memory://", "Celery has no event loop with its broker memory://, and handlers need one"),
        ("nonsense://h", "its broker nonsense://h can't be used here: "),
    ],
)
def test_an_app_runs_beside_handlers_if_celery_has_an_event_loop_with_its_broker(url: Any, reason: str) -> None:
    said = why_not(app_with(broker_url=url))
    assert said.startswith(reason)
    assert bool(said) is bool(reason)
    assert "\n" not in said


def test_no_password_is_told() -> None:
    assert "secret" not in why_not(app_with(broker_url="nonsense://user:secret@h/0"))


def test_celerys_own_tasks_are_none_of_the_applications() -> None:
    app = app_with()
    assert not [name for name in plain_tasks_of(app) if name.startswith("celery.")]

    @app.task(name="shop.print")  # type: ignore[untyped-decorator]
    def print_it() -> None: ...

    assert "shop.print" in plain_tasks_of(app)
