"""What `events doctor` says of an application's own Alembic, whose env.py it reads and never runs."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from events.diagnosis.autogenerate import alembic
from events.diagnosis.findings import Level
from events.testing import InlinePipeline
from support.own_alembic import replace

TEMPLATES = ["generic", "async", "multidb", "pyproject", "pyproject_async"]
IMPORT = "from events.alembic import include_object\n"
Levels = Callable[[], list[Level]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the application."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALEMBIC_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def levels(events_pipeline: InlinePipeline) -> Levels:
    return lambda: [finding.level for finding in alembic(events_pipeline)]


def environment(template: str = "generic", where: str = "migrations") -> Path:
    """An env.py as `alembic init` makes it, with models."""
    config = Config("alembic.ini", toml_file="pyproject.toml", stdout=io.StringIO())
    command.init(config, where, template)
    env = Path(where, "env.py")
    if template != "multidb":
        replace(env, "target_metadata = None", "target_metadata = Base.metadata")
    return env


def use_include_object(env: Path) -> None:
    text = IMPORT + env.read_text()
    env.write_text(text.replace("context.configure(", "context.configure(include_object=include_object, "))


def test_where_there_is_no_alembic_nothing_is_said(levels: Levels) -> None:
    assert levels() == []


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_environment_that_does_not_use_it_is_warned_of(levels: Levels, template: str) -> None:
    # Given an environment as one of Alembic's templates makes it
    env = environment(template)
    assert levels() == [Level.WARNING]
    # When it uses include_object
    use_include_object(env)
    # Then all is well
    assert levels() == [Level.OK]


def test_the_cure_is_one_line(events_pipeline: InlinePipeline) -> None:
    environment()
    (finding,) = alembic(events_pipeline)
    assert "migrations/env.py" in finding.found
    assert "from events.alembic import include_object" in finding.cure
    assert "\n" not in finding.found + finding.cure


def test_env_py_is_not_run(levels: Levels) -> None:
    env = environment()
    env.write_text("raise SystemExit(3)\n" + env.read_text())
    assert levels() == [Level.WARNING]


def test_to_import_it_alone_is_not_enough(levels: Levels) -> None:
    env = environment()
    env.write_text(IMPORT + "# include_object=include_object\n" + env.read_text())
    assert levels() == [Level.WARNING]


@pytest.mark.parametrize("written", ["from events import alembic as ours\n", "import events.alembic\n"])
def test_it_may_be_imported_in_any_way(levels: Levels, written: str) -> None:
    env = environment()
    env.write_text(f"{written}options = {{'include_object': print}}\n" + env.read_text())
    assert levels() == [Level.OK]


@pytest.mark.parametrize("module", ["shop/tables.py", "src/shop/tables.py", "shop/tables/__init__.py"])
def test_a_module_of_the_application_may_do_it(levels: Levels, folder: Path, module: str) -> None:
    # Given an env.py with a function that a module of the application makes of ours
    env = environment()
    (folder / module).parent.mkdir(parents=True)
    (folder / module).write_text(IMPORT)
    env.write_text(f"from shop.tables import compared\noptions = {{'include_object': compared}}\n{env.read_text()}")
    # Then all is well
    assert levels() == [Level.OK]


@pytest.mark.parametrize("root", [".", "src"])
def test_an_environment_within_a_package_is_found(levels: Levels, folder: Path, root: str) -> None:
    environment(where=f"{root}/shop/migrations")
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = shop:migrations\n")
    assert levels() == [Level.WARNING]


def test_another_file_than_alembic_ini_is_heeded(levels: Levels, monkeypatch: pytest.MonkeyPatch) -> None:
    environment()
    Path("alembic.ini").rename("other.ini")
    assert levels() == []
    monkeypatch.setenv("ALEMBIC_CONFIG", "other.ini")
    assert levels() == [Level.WARNING]


def test_without_models_there_is_no_autogenerate(levels: Levels) -> None:
    replace(environment(), "target_metadata = Base.metadata", "target_metadata = None")
    assert levels() == []


@pytest.mark.parametrize("broken", ["no section", "[alembic]\nscript_location = %(nothing)s\n", "[alembic]\n"])
def test_what_alembic_could_not_read_is_none(levels: Levels, broken: str) -> None:
    Path("alembic.ini").write_text(broken)
    assert levels() == []
