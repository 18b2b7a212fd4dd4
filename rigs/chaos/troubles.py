"""What a broker suffers besides ends and silences: it is full, it forgets, it has another password. Each ends again."""

import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from rigs.chaos.machines import Machine
from support import private_servers

_FEW = 5  # messages that a full queue of RabbitMQ holds
_ROOM = 50_000  # bytes that Redis has before it forgets
# What Redis is started with. Not what it has when the trouble begins: another may not have ended yet, and for good the
# server would have what that one did to it.
_SOUND = {"maxmemory": "0", "maxmemory-policy": "noeviction", "requirepass": ""}


@contextmanager
def trouble(kind: str, broker: Machine, queue: str) -> Iterator[None]:
    """While the block runs, the broker has it."""
    with _redis(kind, broker) if broker.name == "redis" else _rabbitmq(broker, queue):
        yield


@contextmanager
def _redis(kind: str, broker: Machine) -> Iterator[None]:
    with redis.Redis(port=broker.port, socket_timeout=5) as client:
        settings = {
            "fill": {"maxmemory": "1", "maxmemory-policy": "noeviction"},
            "evict": {
                "maxmemory": str(client.info("memory")["used_memory"] + _ROOM),
                "maxmemory-policy": "allkeys-random",
            },
            "lock": {"requirepass": "another"},
        }[kind]
        before = {name: _SOUND[name] for name in settings}
        try:
            _set(client, settings)
            if kind == "lock":  # who is in stays in: everybody comes anew
                client.client_kill_filter(_type="normal", skipme=True)
            yield
        finally:
            password = settings.get("requirepass")
            with redis.Redis(port=broker.port, socket_timeout=5, password=password) as again:
                try:
                    _set(again, before)
                except redis.AuthenticationError:  # it was restarted meanwhile, and is as it was
                    _set(client, before)


def _set(client: redis.Redis, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        client.config_set(name, value)


@contextmanager
def _rabbitmq(broker: Machine, queue: str) -> Iterator[None]:
    full = json.dumps({"max-length": _FEW, "overflow": "reject-publish"})
    _rabbitmqctl(broker, "set_policy", "--apply-to", "queues", "full", f"^{queue}$", full)
    try:
        yield
    finally:
        _rabbitmqctl(broker, "clear_policy", "full")


def _rabbitmqctl(broker: Machine, *arguments: str) -> None:
    """As the server's own user, with its own directory of nodes, which its environment names."""
    environment = dict(
        line.partition("=")[::2] for line in Path(f"/proc/{broker.pid}/environ").read_text().split("\0") if "=" in line
    )
    environment |= {"ERL_EPMD_PORT": environment["PORT3"], "RABBITMQ_NODENAME": f"events-{broker.port}@localhost"}
    identity = {}
    if os.geteuid() == 0:
        user = pwd.getpwuid(broker.folder.stat().st_uid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    done = subprocess.run(
        ["rabbitmqctl", "-n", environment["RABBITMQ_NODENAME"], *arguments],
        env=environment | {"PATH": private_servers.search_path()}, cwd=broker.folder, capture_output=True, text=True,
        timeout=60, **identity,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"rabbitmqctl {arguments[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
