"""Somebody who watches a process over HTTP."""

import http.client
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from support.waiting import eventually


class Port:
    """A free port of this machine, and what a process serves on it."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.number: int = probe.getsockname()[1]

    @property
    def setting(self) -> dict[str, str]:
        """For System.start and its like."""
        return {"http_port": str(self.number)}

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 if nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.number}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def asked(self, method: str, path: str) -> int:
        """The status that a request of another method has."""
        connection = http.client.HTTPConnection("127.0.0.1", self.number, timeout=30)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()

    def says(self, path: str, status: int) -> Any:
        """Wait until that path has that status; the JSON of the answer."""
        seen: list[Any] = []

        def fact() -> bool:
            seen[:] = self.get(path)
            return seen[0] == status

        try:
            eventually(fact, f"{path} has status {status}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {seen}") from None
        return json.loads(seen[1])

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """What stands at /metrics: name of a sample to the values of its labels, in their order, to its number."""
        status, body = self.get("/metrics")
        assert status == 200, body
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
        return found

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        """The series of that name that are not nought."""
        return {labels: number for labels, number in self.metrics().get(name, {}).items() if number}


def listens(pid: int, port: int) -> bool:
    """Whether that process holds a socket that listens on that port."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[1].rsplit(":", 1)[1], 16) == port:
                sockets.add(f"socket:[{words[9]}]")
    held = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(str(file.readlink()))
        except FileNotFoundError:
            continue
    return bool(sockets & held)
