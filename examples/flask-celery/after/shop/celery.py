"""`celery -A shop worker -B`: tasks run in the context of the Flask application."""

from functools import cache
from typing import Any

import events
from celery import Celery, Task


@cache
def flask_app() -> Any:
    from shop import create_app

    return create_app()


class FlaskTask(Task):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        with flask_app().app_context():
            return self.run(*arguments, **options)


app = Celery("shop", task_cls=FlaskTask)
app.set_default()  # in all threads of Flask
app.config_from_object("shop.settings")
app.autodiscover_tasks(["shop"])
events.install(app)
