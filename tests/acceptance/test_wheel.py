"""The wheel holds `events` alone; an application elsewhere installs it and brings its own handlers."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.waiting import eventually

ROOT = Path(__file__).parent.parent.parent
APPLICATION = """
from pathlib import Path

from events import DomainEvent, handles


class Greeted(DomainEvent):
    name: str


@handles(Greeted)
def write_it_down(event: Greeted) -> None:
    Path("greeted").write_text(event.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        source.mkdir(exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    for name in ("events", "handlers"):
        for file in (ROOT / name).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                target = source / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, source],
        check=True, capture_output=True, env=os.environ | {"PIP_CONSTRAINT": str(source / "constraints.txt")},
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_events_alone(wheel: Path) -> None:
    assert wheel.name.startswith("celery_domain_events-")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"events"}
    assert "events/store/migrations/versions/0001_ledger.py" in names
    data = {"monitoring/alerts.yml", "monitoring/grafana.json", "contract/page.css", "contract/page.js", "py.typed",
            "monitoring/flower/templates/ledger-base.html"}  # fmt: skip
    assert {f"events/{name}" for name in data} <= set(names)


def test_an_application_elsewhere_runs_on_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    # Given an empty environment with the wheel, and an application in a folder of its own
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--disable-pip-version-check",
         "-c", ROOT / "constraints.txt", wheel],
        check=True, capture_output=True, env=os.environ | {"PYTHONWARNINGS": ""},
    )  # fmt: skip
    application = tmp_path / "application"
    application.mkdir()
    (application / "greetings.py").write_text(APPLICATION)
    environment = {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "EVENTS_HANDLERS": "greetings",
    }

    def run(*command: str) -> None:
        subprocess.run([python.parent / command[0], *command[1:]], cwd=application, env=environment, check=True)

    # Then what every mode needs is there
    run("python", "-c", "import kombu.transport.redis, kombu.transport.pyamqp, psycopg, flower, events.cli")
    run("python", "-c", "from events.monitoring.flower import install; install()")
    # When it migrates, publishes and starts a worker
    run("events", "migrate")
    run("python", "-c", "from greetings import Greeted; from events import publish; publish(Greeted(name='you'))")
    with (application / "log").open("w") as log:
        worker = subprocess.Popen(
            [python.parent / "celery", "-A", "events", "worker", "-c", "1"],
            cwd=application, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    # Then its handler runs
    (greeted := application / "greeted").touch()
    try:
        eventually(lambda: greeted.stat().st_size or worker.poll() is not None, "the handler ran")
        assert greeted.read_text() == "you", (application / "log").read_text()
    finally:
        worker.terminate()
        worker.wait(30)
