"""The version is said in pyproject.toml alone, and what is asked for by name is in it, too."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from typer.testing import CliRunner

import events
from events import release
from events.cli import app

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    release.own_version.cache_clear()
    yield
    release.own_version.cache_clear()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Lets the installer have written down a version, or none."""

    def say(version: str | None) -> None:
        def found(name: str) -> str:
            assert name == PROJECT["name"]
            if version is None:
                raise PackageNotFoundError(name)
            return version

        monkeypatch.setattr("importlib.metadata.version", found)

    return say


@pytest.fixture
def lies_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str | None], None]:
    """Lets the package lie in a folder, beside this pyproject.toml, or none."""

    def put(pyproject: str | None) -> None:
        monkeypatch.setattr(release, "__file__", str(tmp_path / "events" / "release.py"))
        if pyproject is not None:
            (tmp_path / "pyproject.toml").write_text(pyproject)

    return put


def test_a_checkout_has_the_version_of_its_own_file(installed: Callable[[str | None], None]) -> None:
    # Given that another release is installed as well, or none
    for version in ("0.0.1", None):
        installed(version)
        # Then it's the one that runs
        assert events.__version__ == PROJECT["version"]


def test_what_is_installed_has_the_version_of_the_installer(
    installed: Callable[[str | None], None], lies_in: Callable[[str | None], None]
) -> None:
    installed("7.8.9")
    lies_in(None)
    assert events.__version__ == "7.8.9"


@pytest.mark.parametrize(
    "theirs",
    ['[project]\nname = "shop"\nversion = "3.0"', "[tool.black]", "project = 3", "this is no TOML", "\u00e9"],
)
def test_a_file_of_another_project_says_nothing_about_us(
    installed: Callable[[str | None], None], lies_in: Callable[[str | None], None], theirs: str
) -> None:
    installed("7.8.9")
    lies_in(theirs)
    assert events.__version__ == "7.8.9"


def test_a_copy_that_nobody_installed_starts_all_the_same(
    installed: Callable[[str | None], None], lies_in: Callable[[str | None], None]
) -> None:
    installed(None)
    lies_in(None)
    assert events.__version__ == "0+unknown"


def test_the_command_prints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given settings that are wrong: who asks for help is asked for the version first
    monkeypatch.setenv("EVENTS_DATABASE_URL", "nonsense")
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"events {PROJECT['version']}\n")


def test_a_checkout_alone_is_enough(tmp_path: Path) -> None:
    """`python -m events` in it, without an installation of ours (its dependencies are there)."""
    shutil.copytree(ROOT / "events", tmp_path / "events", ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text.replace(f'version = "{PROJECT["version"]}"', 'version = "9.9.9"', 1))
    done = subprocess.run(
        [sys.executable, "-m", "events", "--version"], cwd=tmp_path, env={}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "events 9.9.9\n"), done.stderr


def test_asking_for_the_package_does_not_ask_for_its_version() -> None:
    code = "import sys, events; assert 'events.release' not in sys.modules; assert events.__version__"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={}, check=True)


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="module 'events' has no attribute '__versoin__'"):
        _ = events.__versoin__  # type: ignore[attr-defined]


def test_what_everybody_gets_can_be_asked_for_by_name() -> None:
    extras = PROJECT["optional-dependencies"]
    for name in ("flower", "postgres", "redis"):
        assert set(extras[name]) <= set(PROJECT["dependencies"])


def test_asyncio_takes_what_sqlalchemy_asks_for() -> None:
    (core,) = [one for one in PROJECT["dependencies"] if one.startswith("SQLAlchemy")]
    assert PROJECT["optional-dependencies"]["asyncio"] == [core.replace("SQLAlchemy", "SQLAlchemy[asyncio]")]


def test_every_extra_that_a_document_names_exists() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")):
        for line in document.read_text().splitlines():
            name = line.partition("celery-domain-events[")[2].partition("]")[0]
            assert not name or name in PROJECT["optional-dependencies"], f"{document}: {line}"
