"""Where the servers' programs are, and how those that are missing are had: as root on Debian, from apt-get."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.private_servers.known import SERVERS, Server


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
