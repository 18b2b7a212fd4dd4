"""Workers: their names and settings, their deployment, the handlers that they have, and handlers that no worker has."""

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
from events.ledger import ALIVE, DeadLetterFilter, HandlerMetrics, Overview, State, retire_command
from events.pipeline import Pipeline
from events.settings import HARD_LIMIT_GRACE
from events.text import deliveries, deliveries_wait, plural

_SLACK = 10.0  # seconds that a worker may take to tell the ledger that it ended a handler
_CELERYCONFIG = "celeryconfig.py"


def names(_: Pipeline) -> list[Finding]:
    """Whether another module or package has the name of this package."""
    if other := other_events():
        says = f"{other} has the name of this package, and hides this package from programs that start in this folder"
        return [error("events", says, "rename it, or uninstall its package; `celery -A events` would load it instead")]
    with suppress(PackageNotFoundError):
        says = f"the package Events {version('Events')} is installed, too, and its files are in this package's folder"
        cure = "pip uninstall Events, then pip install --force-reinstall --no-deps celery-domain-events"
        return [error("events", says, cure)]
    return []


def importable(pipeline: Pipeline) -> list[Finding]:
    """Whether the modules of EVENTS_HANDLERS can be imported. Later checks need the handlers that they define."""
    modules = ", ".join(pipeline.settings.handlers)
    try:
        load_handlers(pipeline.settings.handlers)
    except EventsError as wrong:
        says, _, cure = str(wrong).rpartition("; ")
        cure, says = (cure, says) if says else ("mend EVENTS_HANDLERS", cure)
        return [error("EVENTS_HANDLERS", says, f"{cure}: no worker starts until then")]
    try:
        pipeline.check_async()
    except EventsError as wrong:
        says, _, cure = str(wrong).partition("; ")
        return [error("EVENTS_HANDLERS", says, f"{cure}: no worker starts until then")]
    if missing := without_handlers(pipeline.settings.handlers):
        says, _, cure = missing.partition("; ")
        return [warning("EVENTS_HANDLERS", says, cure)]
    return [ok("EVENTS_HANDLERS", f"{modules} can be imported")]


def celery_settings(_: Pipeline) -> list[Finding]:
    """Whether the application's celeryconfig.py keeps the promise. Runs that file without importing the application."""
    from events.worker import check_celeryconfig  # loads Celery

    path = Path(_CELERYCONFIG)
    if not path.exists():
        return [ok("celeryconfig.py", "no such file in this folder: this package alone configures Celery")]
    module = ModuleType("celeryconfig")
    try:
        exec(compile(path.read_text(), str(path), "exec"), vars(module))
        check_celeryconfig(module)
    except EventsError as wrong:
        return [error("celeryconfig.py", str(wrong), "remove that line")]
    except Exception as wrong:
        return [error("celeryconfig.py", f"can't be imported: {type(wrong).__name__}: {wrong}", "mend it")]
    return [ok("celeryconfig.py", "the file overrides no setting that the promise of delivery needs")]


def deployment(pipeline: Pipeline) -> list[Finding]:
    """Whether kill_timeout in fly.toml leaves a worker the time of EVENTS_SHUTDOWN_TIMEOUT."""
    path, ours = Path("fly.toml"), pipeline.settings.shutdown_timeout.total_seconds()
    if not path.exists():
        return []
    given = tomllib.loads(path.read_text()).get("kill_timeout", 5)
    match = re.fullmatch(r"(\d+)(s|m)?", str(given))
    seconds = int(match[1]) * (60 if match[2] == "m" else 1) if match else 0
    if seconds <= ours:
        says = f"Fly kills a worker after {seconds} s, and EVENTS_SHUTDOWN_TIMEOUT is {ours:g} s"
        cure = "raise kill_timeout in fly.toml above EVENTS_SHUTDOWN_TIMEOUT (300 s at most), or lower that"
        return [error("kill_timeout", f"{says}: each deployment fails the attempts that run", cure)]
    return [ok("kill_timeout", f"{seconds} s, above EVENTS_SHUTDOWN_TIMEOUT ({ours:g} s)")]


def presence(pipeline: Pipeline) -> list[Finding]:
    alive = pipeline.ledger.workers.alive(ALIVE)
    if not alive:
        return [warning("workers", "no worker is alive", "start a worker: celery -A events worker")]
    versions = sorted({worker.version for worker in alive})
    slots = sum(worker.concurrency for worker in alive)
    says = f"{plural(len(alive), 'living worker')} with {plural(slots, 'process or thread', 'processes or threads')}"
    if len(versions) > 1:
        cure = "this is normal during a deployment; after the deployment, replace the old workers"
        return [warning("workers", f"{says}, of versions {' and '.join(versions)}", cure)]
    return [ok("workers", f"{says}, version {versions[0]}")]


def handlers(pipeline: Pipeline) -> list[Finding]:
    """Whether workers have all handlers, read their queues and have handlers for all events; and which are paused."""
    overview = pipeline.ledger.overviews.take(finished=False)
    findings: list[Finding] = []
    for handler in overview.handlers:
        findings += _orphans(handler) if overview.workers else _without_worker(handler)
        if handler.queue in overview.unread:
            waiting = deliveries_wait(handler.waiting)
            says = f"no worker reads queue {handler.queue!r} of handler {handler.handler}; {waiting}"
            cure = f"start a worker that reads this queue: celery -A events worker -Q {handler.queue}"
            findings.append(error("queues", says, cure))
        if handler.paused:
            held = handler.deliveries.get(State.PAUSED, 0)
            says = f"{handler.changed_by} paused handler {handler.handler}; {deliveries_wait(held)}"
            findings.append(warning("handlers", says, f"run: events handlers resume {handler.handler}"))
    findings += [*_unhandled(overview), *_idle_workers(overview)]
    subscribed = sum(bool(handler.queue) for handler in overview.handlers)
    return findings or [ok("handlers", f"living workers have all {plural(subscribed, 'subscribed handler')}")]


def _unhandled(overview: Overview) -> list[Finding]:
    waiting = {metrics.event_type: metrics.waiting for metrics in overview.event_types}
    cure = "start a worker that has a handler for these events, stop publishing them, or run: events unhandled drop"
    return [
        warning("events", f"no handler ever subscribed to {event_type}; {_events_wait(waiting[event_type])}", cure)
        for event_type in overview.unhandled_types
    ]


def _idle_workers(overview: Overview) -> list[Finding]:
    cure = "name the modules that define handlers in the worker's EVENTS_HANDLERS"
    return [
        warning("idle workers", f"worker {worker.name} has no handler", cure)
        for worker in overview.workers
        if not worker.handlers
    ]


def _without_worker(handler: HandlerMetrics) -> list[Finding]:
    """The finding for a handler that no living worker has for any event."""
    if not handler.queue and not handler.waiting:
        return []
    state = "is subscribed" if handler.queue else "is no longer subscribed"
    since = min((orphan.since for orphan in handler.orphans if orphan.since), default=None)
    waiting = deliveries_wait(handler.waiting)
    says = f"handler {handler.handler} {state}, and no living worker has it{_since(since)}; {waiting}"
    cure = f"start a worker that has the handler (EVENTS_HANDLERS), or run: events handlers retire {handler.handler}"
    return [(error if handler.waiting else warning)("handlers", says, cure)]


def _orphans(handler: HandlerMetrics) -> list[Finding]:
    """A finding for each event type for which no living worker has the handler."""
    if not handler.workers:
        return _without_worker(handler)
    findings = []
    for orphan in handler.orphans:
        says = f"no living worker has handler {handler.handler} for event {orphan.event_type}{_since(orphan.since)}"
        cure = f"start a worker that has the handler for this event, or run: {retire_command(handler, orphan)}"
        level = error if orphan.waiting else warning
        findings.append(level("handlers", f"{says}; {deliveries_wait(orphan.waiting)}", cure))
    return findings


def _events_wait(count: int) -> str:
    return f"{plural(count, 'such event')} {'waits' if count == 1 else 'wait'}"


def _since(time: datetime | None) -> str:
    return f" since {time:%Y-%m-%d %H:%M:%S} UTC" if time is not None else ""


def time_limits(pipeline: Pipeline) -> list[Finding]:
    """Handlers that run for longer than their time limit: the pools threads and solo can't end a handler."""
    limits = {handler.name: handler.time_limit for handler in all_handlers()}
    findings = []
    for handler, seconds, worker, count in pipeline.ledger.overviews.running():
        limit = (limits.get(handler) or pipeline.settings.time_limit).total_seconds()
        if seconds > limit + HARD_LIMIT_GRACE.total_seconds() + _SLACK:
            says = (
                f"handler {handler} has run for {seconds:.0f} s on worker {worker} ({deliveries(count)} at once); its "
                f"time limit is {limit:g} s, which only the prefork pool enforces"
            )
            cure = "look at that worker's log; SIGTERM ends the worker within EVENTS_SHUTDOWN_TIMEOUT"
            findings.append(warning("time limits", says, cure))
    return findings


def leftovers(pipeline: Pipeline) -> list[Finding]:
    """Dead letters and parked messages, which wait for an operator."""
    dead = pipeline.ledger.dead.count(DeadLetterFilter())
    parked = sum(pipeline.parked.counts().values())
    findings = []
    if dead:
        findings.append(warning("dead letters", plural(dead, "dead letter"), "run: events dead list"))
    if parked:
        findings.append(warning("parked messages", plural(parked, "parked message"), "run: events parked list"))
    return findings or [ok("dead letters", "no dead letters, and no parked messages")]
