"""A Flower of its own, with this repository's flowerconfig.py, and somebody who talks HTTP to it."""

import base64
import re
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from urllib.parse import urlencode

from support.private_servers import free_port
from support.system import System
from support.waiting import eventually

CONFIG = Path(__file__).parent.parent.parent / "flowerconfig.py"
ALICE = "alice:secret"
Fields = list[tuple[str, str]] | dict[str, str]


@dataclass
class Answer:
    status: int
    text: str
    headers: HTTPMessage

    @property
    def line(self) -> str:
        """What an error page says."""
        found = re.search(r'id="complaint">(.*?)</div>', self.text, re.DOTALL)
        return found[1].strip() if found else self.text


class Flower:
    """`celery -A events flower`, without waiting for it: see `answers`."""

    def __init__(self, system: System, *options: str, login: str = ALICE, prefix: str = "", **settings: str) -> None:
        self.port, self.login, self.prefix = free_port(), login, prefix
        self.cookies: dict[str, str] = {}
        self._queue = system.environment["EVENTS_QUEUE"]
        self.process = system.start(
            ["celery", "-A", "events", "flower", f"--conf={CONFIG}", f"--port={self.port}", "--address=127.0.0.1",
             *([f"--basic-auth={login}"] if login else []), *([f"--url-prefix={prefix}"] if prefix else []), *options],
            **settings,
        )  # fmt: skip

    def answers(self) -> "Flower":
        """Wait until it does."""

        def up() -> bool:
            assert self.process.alive(), self.process.log.read_text()
            try:
                return self.get("/healthcheck").status == 200
            except OSError:
                return False

        eventually(up, "Flower answers")
        return self

    def hears(self) -> None:
        """Wait until it hears the system's worker: what was told before, it never learns."""
        eventually(lambda: f"-{self._queue}@" in self.sees("/workers?json=1"), "Flower hears the worker")

    def get(self, path: str, *, login: str | None = None, **headers: str) -> Answer:
        return self._ask("GET", path, None, login, headers)

    def post(self, path: str, fields: Fields, *, login: str | None = None, **headers: str) -> Answer:
        return self._ask("POST", path, urlencode(fields), login, headers)

    def sees(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status == 200, answer.text
        return answer.text

    def _ask(self, method: str, path: str, body: str | None, login: str | None, headers: dict[str, str]) -> Answer:
        login = self.login if login is None else login
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if login:
            sent["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        if self.cookies:
            sent.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"/{self.prefix}{path}" if self.prefix else path, body, sent)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie") or ():
                name, _, value = cookie.split(";")[0].partition("=")
                self.cookies[name] = value
            return Answer(answer.status, answer.read().decode(), answer.headers)
        finally:
            connection.close()
