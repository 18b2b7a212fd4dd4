"""A process that has loaded the libraries, from which those under test are forked.

To load Celery and SQLAlchemy takes seconds of a busy machine, and the tests start hundreds of processes. What is forked
has yet to load our code, and is in all else what `python -m ...` starts: with a session, an environment, a folder and
files of its own.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import IO, Any

LONGEST = 1 << 17  # bytes of an order
LIBRARIES = [
    *("celery.bin.celery", "celery.apps.worker", "celery.worker.consumer", "celery.concurrency.prefork"),
    *("kombu.transport.redis", "kombu.transport.pyamqp", "sqlalchemy.orm", "sqlalchemy.ext.asyncio", "psycopg"),
    *("sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "pydantic_settings", "typer", "rich.console"),
    *("typer.rich_utils", "rich.markdown", "rich.progress", "rich.traceback", "sqlite3"),
]
INTERPRETERS = {"PYTHONPATH", "PYTHONUNBUFFERED"}  # variables that are the interpreter's, and heeded here


class Forked:
    """`python -m ARGUMENTS` with this environment, in this folder: what subprocess.Popen would give.

    Args:
        files: its standard input, output and error.
    """

    def __init__(
        self, arguments: list[str], environment: dict[str, str], folder: Path, files: tuple[IO[Any], IO[Any], IO[Any]]
    ) -> None:
        unheeded = {name for name in environment if name.startswith("PYTHON")} - INTERPRETERS
        assert not unheeded, f"a forked process can't heed {unheeded}"
        order = {"arguments": arguments, "environment": environment, "folder": str(folder)}
        self._ended, told = os.pipe()
        self.pid = _template().fork(order, [told, *(file.fileno() for file in files)])
        os.close(told)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._ended, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(os.read(self._ended, 10))
            os.close(self._ended)
        return self.returncode

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, signal.SIGTERM)


class _Template:
    """The tests' side of it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        with theirs:
            command = [sys.executable, "-m", "support.template", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, cwd=Path(__file__).parents[1], env=environment | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            )  # fmt: skip

        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def fork(self, order: dict[str, Any], files: list[int]) -> int:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(order).encode()], files)
            answer = self._socket.recv(10)
        assert answer, "the template of the tests' processes has ended"
        return int(answer)


@cache
def _template() -> _Template:
    return _Template()


def serve(orders: socket.socket) -> list[str] | None:
    """Fork a process for each order, and tell when it has ended. Returns in each of them, with its arguments."""
    told: dict[int, int] = {}  # where the end of each is told
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is orders:
                    order, given, *_ = socket.recv_fds(orders, LONGEST, 4)
                    if not order:
                        return None
                    ended, *files = given
                    if (pid := os.fork()) == 0:
                        watched = [one.fd for one in selector.get_map().values() if one.fileobj is not orders]
                        for other in [*watched, *told.values(), ended]:
                            os.close(other)
                        return _become(json.loads(order), files, orders)
                    for file in files:
                        os.close(file)
                    told[pid] = ended
                    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                else:
                    pidfd, pid = key.fd, key.data
                    selector.unregister(pidfd)
                    os.close(pidfd)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    with contextlib.suppress(BrokenPipeError):  # nobody asked
                        os.write(told[pid], str(code).encode())
                    os.close(told.pop(pid))


def _become(order: dict[str, Any], files: list[int], orders: socket.socket) -> list[str]:
    os.setsid()
    orders.send(str(os.getpid()).encode())  # only now: who is told may signal the whole group
    orders.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.path[0:1] = [order["folder"], *filter(None, order["environment"].get("PYTHONPATH", "").split(":"))]
    arguments: list[str] = order["arguments"]
    return arguments


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()  # what is shared stays shared: no collector writes to it
    if arguments := serve(socket.socket(fileno=int(sys.argv[1]))):
        sys.argv[1:] = arguments[1:]
        sys.orig_argv = [sys.executable, "-m", *arguments]  # by which Celery starts itself anew on SIGHUP
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
