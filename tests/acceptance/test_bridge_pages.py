"""The subscribers on the pages of docs/bridges are run as they stand there, and get what a bridge sends.

Those in TypeScript need packages from the net, and so run with EVENTS_TEST_FULL=1 only.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rigs.chaos.machines import Machine
from support.kafka_mock import Mock
from support.private_servers import free_port
from support.servers import server_url
from support.size import FULL
from support.system import TESTS, Process
from support.waiting import eventually

PAGES = sorted(page for page in (TESTS.parent / "docs" / "bridges").glob("*.md") if page.stem != "index")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BROKERS = {  # page to server, and to the variable by which its subscribers know it
    "kafka": ("kafka", "KAFKA"),
    "nats": ("nats", "NATS"),
    "rabbitmq": ("rabbitmq", "RABBITMQ"),
    "redis-pubsub": ("redis", "REDIS"),
    "redis-streams": ("redis", "REDIS"),
}
SCHEMES = {"nats": "nats+jetstream", "rabbitmq": "rabbitmq+topic", "redis-pubsub": "redis+pubsub",
           "redis-streams": "redis+streams"}  # fmt: skip
EVENTS = 3


@dataclass
class Setting:
    """What a page's subscribers and our bridge have in common."""

    page: str
    bridge: str  # URL
    variables: dict[str, str]


def block(page: Path, language: str) -> str:
    """The code below "A subscriber in ..."."""
    found = re.search(
        rf"## A subscriber in {language}\n.*?```{language.lower()}\n(.*?)```", page.read_text(), re.DOTALL
    )
    assert found is not None, f"{page.name} has no subscriber in {language}"
    return found[1]


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, Machine]]:
    """Servers of our own, as the pages' names are everybody's."""
    folder = Path(tempfile.mkdtemp(prefix="pages-"))
    folder.chmod(0o755)  # the servers run as another user
    started = {name: Machine(name, folder) for name in ("nats", "rabbitmq", "redis")}
    try:
        for name, machine in started.items():
            server_url({"rabbitmq": "AMQP"}.get(name, name.upper()))  # who has none can't start one
            machine.start()
        yield started
    finally:
        for machine in started.values():
            machine.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def setting(page: Path, request: pytest.FixtureRequest) -> Iterator[Setting]:
    if page.stem == "http":
        port = str(free_port())
        url = f"http://127.0.0.1:{port}/hooks/cards?secret={SECRET}"
        yield Setting(page.stem, url, {"SECRET": SECRET, "PORT": port})
        return
    server, variable = BROKERS[page.stem]
    if server == "kafka":
        with Mock() as mock:
            mock.make("events.CardAdded")
            yield Setting(page.stem, mock.url, {variable: mock.url.partition("://")[2]})
        return
    url = request.getfixturevalue("machines")[server].url
    yield Setting(page.stem, f"{SCHEMES[page.stem]}://{url.partition('://')[2]}", {variable: url})


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        if process.alive():
            process.kill()


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all packages that the pages name."""
    if not FULL:
        pytest.skip("it needs packages from the net: EVENTS_TEST_FULL=1")
    if shutil.which("npm") is None:
        pytest.fail("there is no npm") if os.environ.get("CI") == "true" else pytest.skip("there is no npm")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"type": "module"}')
    packages = {name for page in PAGES for found in re.findall(r"`npm install ([^`]+)`", page.read_text())
                for name in found.split()}  # fmt: skip
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "tsx", *sorted(packages)], cwd=folder, check=True)
    return folder


def hears(subscriber: Process, setting: Setting, processes: list[Process]) -> None:
    """It prints events that a bridge sends meanwhile; shown with `pytest -s`. (A stream has those of before, too.)"""
    processes.append(subscriber)
    published = processes[0].log

    def heard() -> list[str]:
        assert subscriber.alive(), f"it ended:\n{subscriber.log.read_text()[-3000:]}"
        sent = published.read_text().splitlines()
        lines = [line for line in subscriber.log.read_text().splitlines() if line in sent]
        return lines if len(lines) >= EVENTS else []

    try:
        lines = eventually(heard, f"{EVENTS} events were printed", 30)
    except AssertionError as error:
        logs = f"it: {subscriber.log.read_text()}\nwe: {published.read_text()[-2000:]}"
        raise AssertionError(f"{error}\n{logs}") from None
    print(f"\n{setting.page}, {subscriber.log.stem}:", *lines[:EVENTS], sep="\n")


def publish(setting: Setting, folder: Path, processes: list[Process]) -> None:
    """From now on, as long as the test runs."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TESTS / "support" / "application")}
    processes.append(Process(["cards", setting.bridge], environment, folder / "published.log"))
    processes[0].wait_for("CardAdded")


def environment_of(code: str, pattern: str, setting: Setting) -> dict[str, str]:
    assert set(re.findall(pattern, code)) == setting.variables.keys()
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **setting.variables}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_subscriber_in_python_works(page: Path, setting: Setting, tmp_path: Path, processes: list[Process]) -> None:
    # Given a bridge that sends
    publish(setting, tmp_path, processes)
    # When the code of the page is run, then it prints what was sent
    code = block(page, "Python")
    (tmp_path / "subscriber.py").write_text(code)
    environment = environment_of(code, r'os\.environ(?:\.get\(|\[)"(\w+)"', setting)
    hears(Process(["subscriber"], environment, tmp_path / "python.log"), setting, processes)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_subscriber_in_typescript_works(
    page: Path, node_modules: Path, setting: Setting, tmp_path: Path, processes: list[Process]
) -> None:
    publish(setting, tmp_path, processes)
    code = block(page, "TypeScript")
    script = node_modules / f"{page.stem}.ts"
    script.write_text(code)
    environment = environment_of(code, r"process\.env\.(\w+)", setting)
    (tmp_path / "node.py").write_text("import os, sys; os.execvp(sys.argv[1], sys.argv[1:])")
    command = ["node", str(node_modules / "node_modules" / ".bin" / "tsx"), str(script)]
    hears(Process(command, environment, tmp_path / "typescript.log"), setting, processes)
