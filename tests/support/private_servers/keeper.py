"""The process that starts all the servers of a run, and stops them when its standard input ends."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from support.private_servers.installing import say
from support.private_servers.known import FORGETFUL, SERVERS
from support.private_servers.starting import VERSION, answer, free_port, start, stop

SECONDS_TO_START = 90


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
