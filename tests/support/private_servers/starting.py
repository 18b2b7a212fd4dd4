"""One server: started on a free port, asked whether it is ready, ended."""

import contextlib
import os
import pwd
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from support.private_servers.installing import search_path
from support.private_servers.known import SERVERS, Server

# Every server tells its version to whoever connects; RabbitMQ puts the text's length in four bytes before it.
VERSION = re.compile(rb"version[^0-9]{1,8}([0-9]+(?:\.[0-9]+)*)")


def free_port() -> int:
    """A port that the kernel chose. The connection, closed from its side, keeps it from giving it away for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        listener.accept()[0].close()
        return int(listener.getsockname()[1])


def way_to(url: str) -> str:
    """To a PostgreSQL server, as libpq and PgBouncer spell it; without a database."""
    parts = urlsplit(url)
    words = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
    return " ".join(f"{name}={unquote(str(value))}" for name, value in words.items() if value)


def start(server: Server, folder: Path, port: int, behind: str = "") -> subprocess.Popen[bytes]:
    """`behind`: the URL of the server that it stands in front of, if that isn't in the environment."""
    folder.mkdir(exist_ok=True)  # there already, with its data, if it is started again
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:  # as which Postgres refuses to run
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            user = pwd.getpwnam("nobody")
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(folder, user.pw_uid, user.pw_gid)
    # Nothing else of this process's environment: it may hold settings for a server of the developer's own.
    environment = {"PATH": search_path(), "HOME": str(folder), "LANG": "C.UTF-8", "PORT": str(port)}
    environment |= {"PORT2": str(free_port()), "PORT3": str(free_port())}
    if server.before:
        environment["BEHIND"] = way_to(behind or os.environ[SERVERS[server.before].variable])
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            ["sh", "-e", "-c", server.script],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, **identity,
        )  # fmt: skip


def answer(server: Server, port: int) -> bytes:
    received = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(server.hello)
        while not VERSION.search(received) and (more := connection.recv(65536)):
            received += more
    return received


def stop(process: subprocess.Popen[bytes], gently: signal.Signals) -> None:
    for number in (gently, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
