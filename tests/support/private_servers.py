"""Runs a command with the servers that the tests talk to, each private, and gone afterwards.

There are two processes. This one runs the command. A keeper, in a session of its own where no Ctrl-C reaches it,
starts the servers and stops them when its standard input ends: which is when this process ends, in whatever way. So
not even kill -9 leaves a server or a file behind, and one piece of code does all the cleaning up.
"""

import argparse
import contextlib
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SECONDS_TO_START = 90
# Every server tells its version to whoever connects; RabbitMQ puts the text's length in four bytes before it.
VERSION = re.compile(rb"version[^0-9]{1,8}([0-9]+(?:\.[0-9]+)*)")


@dataclass(frozen=True)
class Server:
    variable: str  # is set to the url
    url: str
    package: str  # Debian's
    programs: tuple[str, ...]  # which have to be there
    script: str  # for sh, in an empty folder of its own; $PORT, $PORT2 and $PORT3 are free ports
    hello: bytes  # what is sent to it ...
    answer: bytes  # ... and how its answer begins when it is ready
    stop: signal.Signals = signal.SIGKILL  # nothing of theirs is worth an orderly end
    before: str = ""  # the server that it stands in front of; its script finds the way to that in $BEHIND


SERVERS = {
    "postgres": Server(
        variable="EVENTS_TEST_POSTGRES_URL",
        url="postgresql://postgres@127.0.0.1:{port}/postgres",
        package="postgresql",
        programs=("initdb", "postgres"),
        script="""
            [ -d data ] || initdb -D data -U postgres -A trust -E UTF8 --no-locale --no-sync
            exec postgres -D data -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
                -c max_connections=200 -c max_prepared_transactions=20
        """,
        hello=b"\0\0\0\x29\0\3\0\0user\0postgres\0database\0postgres\0\0",
        answer=b"R\0\0\0\x08\0\0\0\0",  # AuthenticationOk
        stop=signal.SIGQUIT,  # at once, but with an end to its shared memory and to the processes it has started
    ),
    "redis": Server(
        variable="EVENTS_TEST_REDIS_URL",
        url="redis://127.0.0.1:{port}/0",
        package="redis-server",
        programs=("redis-server",),
        script='exec redis-server --bind 127.0.0.1 --port "$PORT" --save "" --appendonly no --dir .',
        hello=b"PING\r\nINFO server\r\n",
        answer=b"+PONG",
    ),
    "rabbitmq": Server(
        variable="EVENTS_TEST_AMQP_URL",
        url="amqp://guest:guest@127.0.0.1:{port}//",
        package="rabbitmq-server",
        programs=("rabbitmq-server", "erl", "epmd"),
        # It would read /etc, share one epmd (Erlang's directory of nodes) with every other node on the machine, and
        # refuse messages when the disk is rather full; none of that is the tests' business.
        script="""
            mkdir -p conf.d; echo '[].' >plugins; : >env.conf; echo 'disk_free_limit.absolute = 50MB' >rabbitmq.conf
            export RABBITMQ_CONF_ENV_FILE="$PWD/env.conf" RABBITMQ_CONFIG_FILE="$PWD/rabbitmq.conf"
            export RABBITMQ_CONFIG_FILES="$PWD/conf.d" RABBITMQ_ENABLED_PLUGINS_FILE="$PWD/plugins"
            export RABBITMQ_MNESIA_BASE="$PWD" RABBITMQ_LOG_BASE="$PWD" RABBITMQ_LOGS=-
            export RABBITMQ_GENERATED_CONFIG_DIR="$PWD" RABBITMQ_SCHEMA_DIR="$PWD"
            export RABBITMQ_NODENAME="events-$PORT@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
            export RABBITMQ_NODE_PORT="$PORT" RABBITMQ_DIST_PORT="$PORT2" ERL_EPMD_PORT="$PORT3"
            export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"
            epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 &
            exec rabbitmq-server
        """,
        hello=b"AMQP\0\0\x09\1",
        answer=b"\1\0\0",  # a method, on channel 0: Connection.Start
    ),
    "nats": Server(
        variable="EVENTS_TEST_NATS_URL",
        url="nats://127.0.0.1:{port}",
        package="nats-server",
        programs=("nats-server",),
        script='exec nats-server -a 127.0.0.1 -p "$PORT" -js -sd data',
        hello=b"",
        answer=b"INFO ",
    ),
    "pgbouncer": Server(
        variable="EVENTS_TEST_PGBOUNCER_URL",
        url="postgresql://postgres@127.0.0.1:{port}/postgres",
        package="pgbouncer",
        programs=("pgbouncer",),
        # So few connections that whoever comes next gets one that somebody else has had.
        script="""
            cat >pgbouncer.ini <<END
[databases]
* = $BEHIND
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $PORT
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 500
END
            exec pgbouncer pgbouncer.ini
        """,
        hello=b"\0\0\0\x2a\0\3\0\0user\0postgres\0database\0pgbouncer\0\0",  # its console, which needs no server
        answer=b"R\0\0\0\x08\0\0\0\0",
        before="postgres",
    ),
}


# For tests that make a database each, by the thousand. What is to be measured, or restarted on its disk, waits for it.
_FORGETS = "exec postgres -c fsync=off -c full_page_writes=off"
FORGETFUL = {
    "postgres": replace(SERVERS["postgres"], script=SERVERS["postgres"].script.replace("exec postgres", _FORGETS)),
}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def search_path() -> str:
    """PATH, and where Debian puts servers. Its rabbitmq-server on PATH is a wrapper that insists on a user: last."""
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    postgres = sorted(versions, key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))])
    folders = ["/usr/lib/rabbitmq/bin", os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"]
    return os.pathsep.join([*folders, *map(str, reversed(postgres))])


def missing(server: Server) -> list[str]:
    return [program for program in server.programs if shutil.which(program, path=search_path()) is None]


# --- What is not installed


def apt_get(*arguments: str) -> str:
    """Why it failed, in its own last words; nothing if it did not."""
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", *arguments]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return "" if done.returncode == 0 else (done.stdout.strip().splitlines() or ["no reason given"])[-1]


@contextlib.contextmanager
def services_stay_off() -> Iterator[None]:
    """Debian starts a service as soon as it is installed, unless this file says 101: not allowed."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def obtain(names: Sequence[str]) -> list[str]:
    """Those of the servers that can be started; says why the others cannot."""
    absent = [name for name in names if missing(SERVERS[name])]
    reasons = dict.fromkeys(absent, "no apt-get, or not root")
    if absent and os.geteuid() == 0 and shutil.which("apt-get"):
        with services_stay_off():
            apt_get("update")  # if it fails, what is known already may do
            for name in absent:
                say(f"{name}: installing {SERVERS[name].package} with apt-get")
                reasons[name] = apt_get("install", "--no-install-recommends", SERVERS[name].package)
    for name in absent:
        if programs := missing(SERVERS[name]):
            reason = f"{' and '.join(programs)} not found, and not installed: {reasons[name]}"
            say(f"{name}: {reason}. Install {SERVERS[name].package}, or set {SERVERS[name].variable}.")
    ready = [name for name in names if not missing(SERVERS[name])]
    for name in list(ready):
        behind = SERVERS[name].before
        if behind and behind not in ready and not os.environ.get(SERVERS[behind].variable):
            cure = f"name {behind} as well, or set {SERVERS[behind].variable}"
            say(f"{name}: stands in front of {behind}, which is not there; {cure}.")
            ready.remove(name)
    return ready


# --- The keeper


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


def keep(names: Sequence[str]) -> int:
    """Starts the servers, says where they are when they all answer, and stops them when standard input ends."""
    # As root: not below a TMPDIR that may be closed to the user who runs the servers.
    folder = Path(tempfile.mkdtemp(prefix="events-servers-", dir="/tmp" if os.geteuid() == 0 else None))
    folder.chmod(0o711)
    ports = {name: free_port() for name in names}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in names:
            before = SERVERS[name].before
            behind = SERVERS[before].url.format(port=ports[before]) if before in ports else ""
            processes[name] = start(FORGETFUL.get(name, SERVERS[name]), folder / name, ports[name], behind)
        waiting, deadline = list(names), time.monotonic() + SECONDS_TO_START
        while waiting:
            for name in list(waiting):
                greeting = answer(SERVERS[name], ports[name])
                if greeting.startswith(SERVERS[name].answer):
                    version = VERSION.search(greeting)
                    say(f"{name} {version[1].decode() if version else ''} on 127.0.0.1:{ports[name]} (private)")
                    waiting.remove(name)
                elif processes[name].poll() is not None or time.monotonic() > deadline:
                    lines = (folder / name / "log").read_text(errors="replace").splitlines()[-20:]
                    say("\n".join([f"{name} did not start. The end of its log:", *lines]))
                    return 1
            if select.select([sys.stdin], [], [], 0.05)[0]:
                return 1  # interrupted
        print(json.dumps({SERVERS[name].variable: SERVERS[name].url.format(port=ports[name]) for name in names}))
        sys.stdout.flush()
        # The last words are the command's process id if it still runs: it has lost its parent and loses its servers.
        if orphan := sys.stdin.read().split()[-1:]:
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(orphan[0]), signal.SIGTERM)
        return 0
    finally:
        for name, process in processes.items():
            stop(process, SERVERS[name].stop)
        shutil.rmtree(folder, ignore_errors=True)


def stop(process: subprocess.Popen[bytes], gently: signal.Signals) -> None:
    for number in (gently, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)


# --- The process that runs the command


def run(command: Sequence[str], names: Sequence[str]) -> int:
    """The command's exit code, as a shell would give it."""
    keep_them = [sys.executable, "-P", __file__, "--keep", "--only", ",".join(names)]
    keeper = subprocess.Popen(
        keep_them, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True
    )
    assert keeper.stdin
    assert keeper.stdout
    try:
        if not (report := keeper.stdout.readline()):
            return 1
        # From now on Ctrl-C is for the command, which has the terminal, too. (Not SIG_IGN: that would be inherited.)
        signal.signal(signal.SIGINT, lambda *_: None)
        process = subprocess.Popen(command, env=os.environ | json.loads(report))
        keeper.stdin.write(f"{process.pid}\n")
        try:
            status = process.wait()
        except SystemExit as signalled:
            process.send_signal(int(str(signalled.code)) - 128)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            raise
        finally:
            keeper.stdin.write("done\n")
        return status if status >= 0 else 128 - status
    except OSError as error:
        say(f"{command[0]}: {error.strerror}")
        return 127
    finally:
        keeper.stdin.close()
        keeper.wait()


def leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(usage="scripts/servers [--only NAME,...] -- COMMAND...", description=__doc__)
    parser.add_argument("--only", default=",".join(SERVERS), metavar="NAME,...", help="of: %(default)s")
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, command = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    names = [name for name in options.only.split(",") if name]
    if unknown := set(names) - set(SERVERS):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    if not command and not options.keep:
        parser.error("no command")

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs without it
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup's wish
            signal.signal(number, leave)
    try:
        if options.keep:
            return keep(names)
        names = [name for name in names if not os.environ.get(SERVERS[name].variable)]
        ready = obtain(names)
        if ready != names and os.environ.get("CI") == "true":
            return 1
        return run(command, ready)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
