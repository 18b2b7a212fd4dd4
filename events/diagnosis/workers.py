"""Workers and what they are told: Celery's settings, the deployment, who runs what, and what nobody runs."""

import re
import tomllib
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from events.diagnosis.findings import Finding, error, ok, warning
from events.errors import EventsError
from events.handling import all_handlers, load_handlers, other_events, without_handlers
from events.ledger import ALIVE, DeadLetterFilter, HandlerMetrics, State, retire_command
from events.pipeline import Pipeline
from events.settings import HARD_LIMIT_GRACE

_SLACK = 10.0  # seconds until a worker that ended what runs has said so
_CELERYCONFIG = "celeryconfig.py"


def names(_: Pipeline) -> list[Finding]:
    """Nothing else is named as this package is."""
    if other := other_events():
        says = f"{other} is named as this package is, and hides it from what is started here"
        return [
            error("events", says, "rename it, or uninstall what it belongs to; `celery -A events` finds it instead")
        ]
    with suppress(PackageNotFoundError):
        says = f"the package Events {version('Events')} is installed too: it writes its files into the folder of ours"
        cure = "pip uninstall Events, then pip install --force-reinstall --no-deps celery-domain-events"
        return [error("events", says, cure)]
    return []


def importable(pipeline: Pipeline) -> list[Finding]:
    """The modules of EVENTS_HANDLERS; the checks after this one know the handlers by it."""
    modules = ", ".join(pipeline.settings.handlers)
    try:
        load_handlers(pipeline.settings.handlers)
    except EventsError as wrong:
        says, _, cure = str(wrong).rpartition("; ")
        return [error("EVENTS_HANDLERS", says or cure, f"{cure if says else 'mend it'}: without it no worker starts")]
    if missing := without_handlers(pipeline.settings.handlers):
        says, _, cure = missing.partition("; ")
        return [warning("EVENTS_HANDLERS", says, cure)]
    return [ok("EVENTS_HANDLERS", f"{modules} can be imported")]


def celery_settings(_: Pipeline) -> list[Finding]:
    """The application's celeryconfig.py, read without importing the application."""
    from events.worker import check_celeryconfig  # loads Celery

    path = Path(_CELERYCONFIG)
    if not path.exists():
        return [ok("celeryconfig.py", "none here: Celery is set up by the package alone")]
    module = ModuleType("celeryconfig")
    try:
        exec(compile(path.read_text(), str(path), "exec"), vars(module))
        check_celeryconfig(module)
    except EventsError as wrong:
        return [error("celeryconfig.py", str(wrong), "remove that line")]
    except Exception as wrong:
        return [error("celeryconfig.py", f"can't be imported: {type(wrong).__name__}: {wrong}", "mend it")]
    return [ok("celeryconfig.py", "overrides nothing that the promise needs")]


def deployment(pipeline: Pipeline) -> list[Finding]:
    """fly.toml's kill_timeout against our own deadline."""
    path, ours = Path("fly.toml"), pipeline.settings.shutdown_timeout.total_seconds()
    if not path.exists():
        return []
    given = tomllib.loads(path.read_text()).get("kill_timeout", 5)
    match = re.fullmatch(r"(\d+)(s|m)?", str(given))
    seconds = int(match[1]) * (60 if match[2] == "m" else 1) if match else 0
    if seconds <= ours:
        says = f"fly.toml kills after {given}, EVENTS_SHUTDOWN_TIMEOUT is {ours:g} s"
        cure = "raise kill_timeout above it (at most 300), or lower EVENTS_SHUTDOWN_TIMEOUT"
        return [error("kill_timeout", f"{says}: a deployment counts as a failed attempt of what runs", cure)]
    return [ok("kill_timeout", f"{given} s, above EVENTS_SHUTDOWN_TIMEOUT ({ours:g} s)")]


def presence(pipeline: Pipeline) -> list[Finding]:
    alive = pipeline.ledger.workers.alive(ALIVE)
    if not alive:
        return [warning("workers", "none lives", "start one: celery -A events worker")]
    versions = sorted({worker.version for worker in alive})
    says = f"{len(alive)} live, {sum(worker.concurrency for worker in alive)} processes or threads"
    if len(versions) > 1:
        cure = "fine during a deployment; after it, replace the old ones"
        return [warning("workers", f"{says}, of versions {' and '.join(versions)}", cure)]
    return [ok("workers", f"{says}, version {versions[0]}")]


def handlers(pipeline: Pipeline) -> list[Finding]:
    """Subscribed but running nowhere; waiting in a queue that nobody reads; events that nobody wants."""
    found_now = pipeline.ledger.overviews.take(finished=False)
    found: list[Finding] = []
    subscribed = [handler for handler in found_now.handlers if handler.queue]
    for handler in found_now.handlers:
        found += _orphans(handler) if found_now.workers else _nowhere(handler)
        if handler.queue in found_now.unread:
            says = f"no worker reads queue {handler.queue!r} of {handler.handler}; {handler.waiting} deliveries wait"
            found.append(error("queues", says, f"start a worker for it: celery -A events worker -Q {handler.queue}"))
        if handler.paused:
            held = handler.deliveries.get(State.PAUSED, 0)
            says = f"{handler.handler} is paused by {handler.changed_by}; {held} deliveries wait"
            found.append(warning("handlers", says, f"events handlers resume {handler.handler}"))
    waiting = {one.event_type: one.waiting for one in found_now.event_types}
    for event_type in found_now.unhandled_types:
        says = f"{waiting[event_type]} events {event_type} wait: no handler ever subscribed to them"
        found.append(warning("events", says, "start a worker that has a handler for them, or publish them no more"))
    for worker in found_now.workers:
        if not worker.handlers:
            says = f"worker {worker.name} has no handler"
            found.append(warning("idle workers", says, "name the modules that define them in its EVENTS_HANDLERS"))
    return found or [ok("handlers", f"all {len(subscribed)} that are subscribed run somewhere")]


def _nowhere(handler: HandlerMetrics) -> list[Finding]:
    """No living worker has it for anything."""
    if not handler.queue and not handler.waiting:
        return []
    is_subscribed = "is subscribed and" if handler.queue else "is no longer subscribed,"
    since = min((orphan.since for orphan in handler.orphans if orphan.since), default=None)
    says = f"{handler.handler} {is_subscribed} runs nowhere{_since(since)}; {handler.waiting} deliveries wait for it"
    cure = f"start a worker that has it (EVENTS_HANDLERS), or: events handlers retire {handler.handler}"
    return [(error if handler.waiting else warning)("handlers", says, cure)]


def _orphans(handler: HandlerMetrics) -> list[Finding]:
    """Of what it takes, what no living worker has."""
    if not handler.workers:
        return _nowhere(handler)
    found = []
    for orphan in handler.orphans:
        says = f"{handler.handler} takes no {orphan.event_type} on any worker{_since(orphan.since)}; "
        says += f"{orphan.waiting} deliveries wait for it"
        cure = f"start a worker whose code takes it, or: {retire_command(handler, orphan)}"
        found.append((error if orphan.waiting else warning)("handlers", says, cure))
    return found


def _since(moment: datetime | None) -> str:
    return f" since {moment:%Y-%m-%d %H:%M:%S} UTC" if moment is not None else ""


def time_limits(pipeline: Pipeline) -> list[Finding]:
    """What runs, and has for longer than it may: on threads and solo nothing ends it."""
    limits = {handler.name: handler.time_limit for handler in all_handlers()}
    found = []
    for handler, seconds, worker, count in pipeline.ledger.overviews.running():
        limit = (limits.get(handler) or pipeline.settings.time_limit).total_seconds()
        if seconds > limit + HARD_LIMIT_GRACE.total_seconds() + _SLACK:
            says = f"{handler} has run for {seconds:.0f} s on {worker} ({count} of it run); its limit is {limit:g} s"
            cure = "see where it stands in that worker's log; SIGTERM ends the worker within EVENTS_SHUTDOWN_TIMEOUT"
            found.append(warning("time limits", f"{says}, which only the prefork pool enforces", cure))
    return found


def leftovers(pipeline: Pipeline) -> list[Finding]:
    """What waits for an operator."""
    dead = pipeline.ledger.dead.count(DeadLetterFilter())
    parked = sum(pipeline.parked.counts().values())
    found = []
    if dead:
        found.append(warning("dead letters", f"{dead}", "look at them: events dead list"))
    if parked:
        found.append(warning("parked messages", f"{parked}", "look at them: events parked list"))
    return found or [ok("dead letters", "none, and no parked messages")]
