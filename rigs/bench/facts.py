"""On what it was measured: figures without that mean nothing."""

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_SERVERS = {"postgres": "PostgreSQL", "redis": "Redis", "rabbitmq": "RabbitMQ"}
_PACKAGES = {
    "celery": "Celery",
    "kombu": "kombu",
    "psycopg": "psycopg",
    "sqlalchemy": "SQLAlchemy",
    "redis": "redis-py",
}


@dataclass(frozen=True)
class Facts:
    """In words, by name."""

    machine: Mapping[str, str]
    versions: Mapping[str, str]


def gathered(servers: Mapping[str, str]) -> Facts:
    """Of this machine and this environment. `servers`: the versions of those that ran."""
    cores = len(os.sched_getaffinity(0))
    machine = {
        "processor": _first("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(cores),
        "memory": _memory(),
        "system": _system(),
    }
    versions = {"Python": platform.python_version()}
    for name, shown in _PACKAGES.items():
        with suppress(PackageNotFoundError):
            versions[shown] = version(name)
    versions |= {_SERVERS.get(name, name): found for name, found in servers.items() if found}
    return Facts(machine, versions)


def _memory() -> str:
    """In GiB, as the kernel has it."""
    kilobytes = _first("/proc/meminfo", "MemTotal").removesuffix(" kB")
    return f"{int(kilobytes) / 2**20:.1f} GiB" if kilobytes.isdigit() else "unknown"


def _system() -> str:
    name = sys.platform
    with suppress(OSError):
        name = platform.freedesktop_os_release().get("PRETTY_NAME", name)
    return f"{name}, {platform.system()} {platform.release().split('-')[0]}"


def _first(path: str, name: str) -> str:
    """The first value of that name in a file of `name : value` lines."""
    with suppress(OSError):
        for line in Path(path).read_text().splitlines():
            found, _, value = line.partition(":")
            if found.strip() == name:
                return value.strip()
    return ""
