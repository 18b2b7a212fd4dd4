"""The pipeline of this process: made from the environment when it is first needed, or by a framework in its own way."""

import os
import threading
from collections.abc import Callable

from sqlalchemy import Engine

from events.errors import ConfigurationError
from events.ledger import EventMetrics
from events.pipeline import Pipeline
from events.publishing import Surroundings, provide
from events.settings import Settings, load_settings

_lock = threading.Lock()
_pipeline: Pipeline | None = None
_serves = False
_made_by: Callable[[Settings, bool], Pipeline] | None = None


def get_pipeline() -> Pipeline:
    """The pipeline of this process, made from the environment. Raises ConfigurationError for a wrong setting."""
    global _pipeline
    with _lock:
        if _pipeline is None:
            if _made_by is None:
                _refuse_before_django()
            settings = load_settings()
            _pipeline = _made_by(settings, _serves) if _made_by is not None else Pipeline(settings)
        return _pipeline


def _refuse_before_django() -> None:
    """Raise ConfigurationError in a program that has Django, and `events.django`, and has not set it up yet: its events
    would go to another database than DATABASES says."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return
    try:
        from django.apps import apps
        from django.conf import settings

        waits = not apps.ready and any(name.startswith("events.django") for name in settings.INSTALLED_APPS)
    except Exception:  # there is no Django here, or it has other troubles
        return
    if waits:
        raise ConfigurationError(
            "Django isn't set up yet, so the ledger's database isn't known: call django.setup() first; while "
            "applications are loaded, publish in AppConfig.ready() at the earliest"
        )


def make_pipelines_by(make: Callable[[Settings, bool], Pipeline] | None) -> None:
    """From now on a framework makes the pipeline of this process. Its second argument is whether the process serves the
    ledger, as workers, relays and commands do; if not, it is a process of the application."""
    global _made_by
    _made_by = make
    use_pipeline(None)


def surroundings() -> Surroundings | None:
    """The framework to whose transactions a publish() without a session belongs; None if there is none."""
    return get_pipeline().publisher.surroundings if _made_by is not None else None


def serve() -> None:
    """This process is a worker, a relay or a command: called before it asks for its pipeline."""
    global _serves
    if not _serves:
        _serves = True
        if _made_by is not None:
            use_pipeline(None)


def current_settings() -> Settings:
    """The settings of this process, without making its pipeline. Raises ConfigurationError for a wrong one."""
    with _lock:
        return load_settings() if _pipeline is None else _pipeline.settings


def use_pipeline(pipeline: Pipeline | None) -> None:
    """Replace the pipeline of this process, for tests and for settings made in code; None lets it be made anew."""
    global _pipeline
    with _lock:
        _pipeline = pipeline


def get_engine() -> Engine:
    """The SQLAlchemy engine of EVENTS_DATABASE_URL, set up for many processes (on SQLite: WAL and a busy timeout)."""
    return get_pipeline().ledger.engine


def metrics() -> dict[str, EventMetrics]:
    """Counts and error counts of every event type in the ledger, by name.

    All stored rows are counted. With millions of them that takes some seconds, so keep the result for a while.
    """
    return {counts.event_type: counts for counts in get_pipeline().ledger.overviews.take().event_types}


provide(lambda: get_pipeline().publisher)
