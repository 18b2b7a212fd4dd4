"""Revoke and terminate by remote control: `celery control revoke`, and Flower's buttons. Of deliveries, that is: the
tasks of an application's own Celery app are Celery's to revoke.

Celery drops revoked tasks for three hours, by an id that all attempts of a delivery share, and the ledger would wait.
Only the ledger decides which deliveries must not run: so a worker refuses a revoke, and says what to do instead. To
terminate a running handler fails its attempt as any error does, and the history names the operator.
"""

import logging
import os
import signal as signals
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from billiard import active_children
from celery.worker import control as of_celery
from celery.worker import state as worker_state
from celery.worker.control import control_command
from celery.worker.request import Request as CeleryRequest

from events.errors import Terminated
from events.ledger import Action, Group
from events.transport import group_of
from events.worker.children import process_that_ends
from events.worker.host import host_of, is_alone

log = logging.getLogger("events.worker")

REMOTE_CONTROL = "remote control"
INSTEAD = "events handlers pause HANDLER, or events dead discard EVENT_ID once it has failed"
REFUSED = f"deliveries can't be revoked: the ledger would send them again; instead: {INSTEAD}"
_celerys_revoke, _celerys_stamped = of_celery.revoke, of_celery.revoke_by_stamped_headers
_STILL_THERE = 3.0  # seconds after which a child that was told to end is killed


class Request(CeleryRequest):  # type: ignore[misc]
    """The request of a delivery. DeliveryTask names this class."""

    def __init__(self, message: Any, **options: Any) -> None:
        # Decoded here, since we have looked at the message, and an application's `accept_content` may have no JSON.
        body = options["body"] if options.get("decoded") else message.payload
        super().__init__(message, **options | {"body": body, "decoded": True})

    def cancel(self, *_: Any, emit_retry: bool = True, **__: Any) -> None:
        """Celery calls this at the end of a cold shutdown, without `emit_retry`; and, with it, when it has lost an
        application's broker, which is no reason to end a handler."""
        if not emit_retry and (drain := host_of(self.task.app).drain) is not None:
            drain.cut()

    def on_failure(self, *arguments: Any, **options: Any) -> Any:
        """Celery calls this in the main process: the signal `task_failure` follows, see `record_lost_process`."""
        with process_that_ends(self._process):
            return super().on_failure(*arguments, **options)

    def on_timeout(self, *arguments: Any, **options: Any) -> Any:
        with process_that_ends(self._process):
            return super().on_timeout(*arguments, **options)

    @property
    def _process(self) -> str:
        """The name, in the ledger, of the child that has run this; "" if none has."""
        name = host_of(self.task.app).worker_name(self.hostname)
        return f"{name}.{self.worker_pid}" if self.worker_pid else ""

    def revoked(self) -> bool:
        """Never: not even if the worker's --statedb or another worker says so."""
        return False

    @property
    def group(self) -> Group:
        return group_of(self.message.headers)


@control_command(
    name="revoke", variadic="task_id", signature="[id1 [id2 [... [idN]]]]", args=[("terminate", bool), ("signal", str)]
)  # type: ignore[untyped-decorator]
def revoke(
    state: Any, task_id: Any, terminate: bool = False, signal: str | None = None, actor: str = REMOTE_CONTROL, **_: Any
) -> dict[str, str]:
    """Refused, for deliveries; with terminate=True, end what runs."""
    wanted = set(task_id) if isinstance(task_id, list | tuple | set) else {task_id}
    ours = [one for key, one in list(worker_state.requests.items()) if key in wanted and isinstance(one, Request)]
    theirs = wanted - {one.id for one in ours}
    if theirs and not is_alone(state.app):
        revoked = _celerys_revoke(state, list(theirs), terminate, signal)
        if not ours:
            return revoked  # type: ignore[no-any-return]
    if not terminate:
        _refuse(state.app, ours, actor)
        return {"error": REFUSED}
    running = [one for one in ours if one in worker_state.active_requests and one.time_start]
    if not running:
        return {"error": "it doesn't run here; what only waits can't be terminated"}
    try:
        for request in running:
            _terminate(state, request, signal, actor)
    except NotImplementedError:
        return {"error": "only the prefork pool can end a handler"}
    names = ", ".join(f"{one.name} ({one.id})" for one in running)
    return {"ok": f"terminated {names}; the attempt has failed"}


@control_command(name="terminate", variadic="task_id", args=[("signal", str)], signature="<signal> [id1 [... [idN]]]")  # type: ignore[untyped-decorator]
def terminate(state: Any, signal: str, task_id: Any, **options: Any) -> dict[str, str]:
    """Terminate task by task id (or list of ids)."""
    return revoke(state, task_id, terminate=True, signal=signal, **options)  # type: ignore[no-any-return]


@control_command(name="revoke_by_stamped_headers", variadic="headers", signature="[key1=value1 [... [keyN=valueN]]]")  # type: ignore[untyped-decorator]
def revoke_by_stamped_headers(state: Any, headers: Any, **options: Any) -> dict[str, str]:
    """Refused, for deliveries: they have no stamps."""
    if is_alone(state.app):
        return {"error": REFUSED}
    return _celerys_stamped(state, headers, **options)  # type: ignore[no-any-return]


def _refuse(app: Any, requests: Sequence[Request], actor: str) -> None:
    for request in requests:
        log.warning("revoke of %s (%s) by %s: refused; %s", request.name, request.id, actor, INSTEAD)
        _remember(app, Action.REVOKE, request.group, actor)


def _terminate(state: Any, request: Request, signal: str | None, actor: str) -> None:
    app, group, pid = state.app, request.group, request.worker_pid
    host_of(app).draining.order_end_of(pid)
    request.terminate(state.consumer.pool, signal=signal)
    state.consumer.timer.call_after(_STILL_THERE, _kill, (pid,))
    log.warning("%s (%s) was terminated by %s", request.name, request.id, actor)
    tokens = {wakeup.event_id: wakeup.token for wakeup in group}
    try:
        deliverer = request.task.deliverer("main")
        if not deliverer.abandon(request.name, tokens, Terminated(f"terminated by {actor}")):
            # It had not been claimed, or had ended already.
            host_of(app).pipeline.ledger.outbox.hand_back(group, timedelta(0))
    except Exception as error:  # the lease ends in any case, and the relay finds it
        log.warning("can't record that %s was terminated: %s", request.name, error)
    _remember(app, Action.TERMINATE, group, actor)


def _kill(pid: int) -> None:
    """A handler that hangs in a library has not heard the signal."""
    if pid in [process.pid for process in active_children()]:
        with suppress(ProcessLookupError):
            os.kill(pid, signals.SIGKILL)


def _remember(app: Any, action: Action, group: Group, actor: str) -> None:
    try:
        host_of(app).pipeline.ledger.switches.note(action, actor, [(one.event_id, one.handler) for one in group])
    except Exception as error:
        log.warning("can't remember that %s was asked to %s: %s", actor, action, error)
