"""What /proc says of processes: their memory, and the local ports of their connections."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_LOCAL, _INODE = 1, 9  # columns of /proc/net/tcp


def pss(pid: int) -> float:
    """MiB: what it shares with others counts once for all of them, which RSS would count for each."""
    return int(_PSS.findall((_PROC / str(pid) / "smaps_rollup").read_text())[0]) / 1024


def sockets(pid: int) -> set[str]:
    """The numbers of its sockets, as the kernel has them."""
    found = set()
    with suppress(OSError):
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                found.add(str(descriptor.readlink()))
    return {match[1] for name in found if (match := _SOCKET.fullmatch(name))}


def local_ports() -> dict[str, int]:
    """Of each TCP connection of this machine, by its socket's number."""
    return dict(_ports())


def _ports() -> Iterator[tuple[str, int]]:
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                yield fields[_INODE], int(fields[_LOCAL].rpartition(":")[2], 16)
