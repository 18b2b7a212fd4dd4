"""Workers and what they are told: Celery's settings, the deployment, who runs what, and what nobody runs."""

import re
import tomllib
from pathlib import Path
from types import ModuleType

from events.diagnosis.findings import Finding, error, ok, warning
from events.errors import EventsError
from events.letters import DeadLetterFilter
from events.pipeline import Pipeline
from events.records import ALIVE, State
from events.registry import without_handlers

_CELERYCONFIG = "celeryconfig.py"


def celery_settings(_: Pipeline) -> list[Finding]:
    """The application's celeryconfig.py, read without importing the application."""
    from events.worker.config import check_celeryconfig  # loads Celery

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
    alive = pipeline.ledger.workers.alive(ALIVE)
    found_now = pipeline.ledger.overviews.take(finished=False)
    running = {name for worker in alive for name in worker.handlers}
    read = {queue for worker in alive for queue in worker.queues}
    found = []
    subscribed = [handler for handler in found_now.handlers if handler.queue]
    for handler in subscribed:
        waits = handler.waiting
        if handler.handler not in running:
            level = error if waits else warning
            says = f"{handler.handler} is subscribed and runs nowhere; {waits} deliveries wait for it"
            found.append(
                level(
                    "handlers",
                    says,
                    f"start a worker that has it (EVENTS_HANDLERS), or: events handlers retire {handler.handler}",
                )
            )
        elif handler.queue not in read:
            says = f"no worker reads queue {handler.queue!r} of {handler.handler}; {waits} deliveries wait"
            found.append(error("queues", says, f"start a worker for it: celery -A events worker -Q {handler.queue}"))
        if handler.paused:
            held = handler.deliveries.get(State.PAUSED, 0)
            says = f"{handler.handler} is paused by {handler.changed_by}; {held} deliveries wait"
            found.append(warning("handlers", says, f"events handlers resume {handler.handler}"))
    waiting = {one.event_type: one.waiting for one in found_now.event_types}
    for event_type in found_now.unhandled_types:
        says = f"{waiting[event_type]} events {event_type} wait: no handler ever subscribed to them"
        found.append(warning("events", says, "start a worker that has a handler for them, or publish them no more"))
    for worker in alive:
        if not worker.handlers:
            says = f"worker {worker.name} has no handler"
            found.append(warning("idle workers", says, "name the modules that define them in its EVENTS_HANDLERS"))
    if not subscribed and (missing := without_handlers(pipeline.settings.handlers)):
        says, _, cure = missing.partition("; ")
        found.append(warning("handlers", says, cure))
    return found or [ok("handlers", f"all {len(subscribed)} that are subscribed run somewhere")]


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
