"""The private servers of a run: started, restarted on the same data and port, paused, wiped."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import kombu
import redis

from support import private_servers

_KNOWN = private_servers.SERVERS
_DURABLE_REDIS = _KNOWN["redis"].script.replace("--appendonly no", "--appendonly yes")
_SESSIONS = _KNOWN["pgbouncer"].script.replace("pool_mode = transaction", "pool_mode = session")
SERVERS = _KNOWN | {
    "redis": replace(_KNOWN["redis"], script=_DURABLE_REDIS),
    "pgbouncer-session": replace(_KNOWN["pgbouncer"], script=_SESSIONS.replace("size = 2", "size = 10")),
}
STARTS_WITHIN = 90.0  # seconds


class Machine:
    """One server process on a port of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.port = private_servers.free_port()
        self._server = SERVERS[name]
        self.folder = folder / name
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that was started; None while it doesn't run."""
        process = self._process
        return process.pid if process is not None else None

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """Its URL through a proxy on another port."""
        return self._server.url.format(port=port)

    def start(self) -> None:
        """Start it, again or for the first time, and wait until it answers. Raises RuntimeError if it doesn't."""
        with self._lock:
            self._process = private_servers.start(self._server, self.folder, self.port)
            deadline = time.monotonic() + STARTS_WITHIN
            while not self.answers():
                if time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.name} did not start:\n{log}")
                if self._process.poll() is None:
                    time.sleep(0.05)
                else:  # while it was down, a connection from here to elsewhere may have been given its port
                    time.sleep(1)
                    self._process = private_servers.start(self._server, self.folder, self.port)

    def answers(self) -> bool:
        """Whether it does."""
        return private_servers.answer(self._server, self.port).startswith(self._server.answer)

    def restart(self) -> None:
        """As after a crash: killed, and started on what is on its disk."""
        with self._lock:  # all the while: two at once would start two, and one would be nobody's
            self.end()
            self.start()

    def pause(self) -> None:
        """Stop it, if it runs; when this returns its threads stand still. Raises RuntimeError if they don't."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + STARTS_WITHIN
        while self.pid is not None and (states := self._states()) != {"T"}:
            if not states or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} can't be stopped: its threads are {states or 'gone'}")
            time.sleep(0.01)

    def _states(self) -> set[str]:
        """Of the threads of its first process, as /proc has them; none if it has ended."""
        found = set()
        for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):  # it has just ended
                found.add(stat.read_text().rpartition(")")[2].split()[0])
        return found - {"Z", "X"}

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
            private_servers.stop(process, self._server.stop)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                os.killpg(self._process.pid, number)


def wipe(broker: Machine, queue: str) -> None:
    """Redis forgets everything; RabbitMQ's queue is deleted, with what is in it."""
    if broker.name == "redis":
        with redis.Redis(port=broker.port, socket_timeout=5) as client:
            client.flushall()
        return
    with kombu.Connection(broker.url, connect_timeout=5) as connection, connection.channel() as channel:
        channel.queue_delete(queue)


def waiting(broker: Machine, queue: str) -> int:
    """Messages in the queue and, on Redis, in workers' hands."""
    if broker.name == "redis":
        with redis.Redis(port=broker.port, socket_timeout=5) as client:
            return int(client.llen(queue)) + int(client.hlen(f"{queue}.unacked"))
    with kombu.Connection(broker.url, connect_timeout=5) as connection, connection.channel() as channel:
        return int(channel.queue_declare(queue, passive=True).message_count)
