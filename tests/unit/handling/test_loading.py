"""EVENTS_HANDLERS: which modules of a package are imported, and which are not."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from events import ConfigurationError
from events.diagnosis import Level, examine
from events.diagnosis.workers import names
from events.handling.loading import load_handlers, other_events
from events.handling.registry import handler_named
from events.ledger.records import Subscription
from events.pipeline import Pipeline
from events.settings.settings import Settings

HANDLER = """
from events import DomainEvent, handles
class {event}(DomainEvent): pass
@handles({event})
def on_{event}(event: {event}) -> None: ...
"""
BOOM = "raise SystemExit(3)\n"
NOT_READY = """
class AppRegistryNotReady(Exception):
    __module__ = "django.core.exceptions"
raise AppRegistryNotReady("Apps aren't loaded yet.")
"""
NOT_INSTALLED = """
raise RuntimeError("Model class shop.models.Order doesn't declare an explicit app_label and isn't in an application "
                   "in INSTALLED_APPS.")
"""

Package = Callable[[dict[str, str]], str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Writes the files of a package; its name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"package_{abs(hash(tmp_path))}"

    def write(files: dict[str, str]) -> str:
        for path, source in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        return name

    yield write
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def loaded(package: str) -> set[str]:
    load_handlers([package])
    return {module.partition(".")[2] for module in sys.modules if module.startswith(f"{package}.")}


def test_folders_without_init_are_looked_into(package: Package) -> None:
    # Given handlers in folders that have no __init__.py, at any depth
    name = package({
        "__init__.py": "", "orders/handlers.py": HANDLER.format(event="InABareFolder"),
        "a/b/c/deep.py": HANDLER.format(event="InADeepFolder"), "a/__init__.py": "",
        "orders/regular/__init__.py": "", "orders/regular/module.py": HANDLER.format(event="InARegularOne"),
    })  # fmt: skip
    # When the package is loaded, then they are there
    load_handlers([name])
    for event in ("InABareFolder", "InADeepFolder", "InARegularOne"):
        assert handler_named(f"on_{event}")


def test_a_package_without_init_is_a_package(package: Package) -> None:
    name = package({"handlers.py": HANDLER.format(event="AtTheTop"), "helpers.py": "", "deep/x.py": "DomainEvent = 1"})
    assert loaded(name) == {"handlers", "helpers", "deep", "deep.x"}


def test_programs_tests_and_files_of_other_kinds_are_not_run(package: Package) -> None:
    # Given what lies in packages, too
    test = "import pytest\nfrom events import handles\n" + BOOM
    name = package({
        "__init__.py": "", "__main__.py": BOOM, "conftest.py": BOOM, "test_orders.py": test, "orders_test.py": test,
        "tests.py": "import unittest\n" + BOOM, "sub/__init__.py": "", "sub/__main__.py": BOOM,
        "sub/tests/__init__.py": BOOM, "tests/handlers.py": HANDLER.format(event="InTests") + BOOM,
        "migrations/env.py": BOOM, "migrations/versions/0001_first.py": BOOM, "scripts/delete_all.py": BOOM,
        ".hidden/x.py": HANDLER.format(event="Hidden") + BOOM, "not-a-name/x.py": HANDLER.format(event="No") + BOOM,
        "bare/setup.py": "# handles\n" + BOOM, "bare/test_x.py": "# handles\ndef test_x(): ...\n" + BOOM,
        "bare/handlers.py": HANDLER.format(event="AmongOthers"), "bare/__main__.py": "# handles\n" + BOOM,
        "__pycache__/x.py": "# handles\n" + BOOM,
    })  # fmt: skip
    # When it is loaded, then only what defines handlers was
    assert loaded(name) == {"sub", "bare", "bare.handlers"}


def test_a_module_of_handlers_may_be_named_like_a_test(package: Package) -> None:
    name = package({"__init__.py": "", "test_results.py": HANDLER.format(event="ResultsCame"), "setup.py": ""})
    assert loaded(name) == {"test_results", "setup"}


def test_modules_may_import_each_other(package: Package) -> None:
    name = package({"__init__.py": "", "a.py": "from . import b\n", "b.py": "from . import a\n"})
    assert loaded(name) == {"a", "b"}


@pytest.mark.parametrize("source", [BOOM, "import nothing_of_this_name", "def broken(:", "1 / 0"])
def test_a_module_that_can_not_be_imported_is_named(package: Package, source: str) -> None:
    name = package({"__init__.py": "", "orders/broken.py": f"# handles\n{source}\n"})
    with pytest.raises(ConfigurationError, match=rf"EVENTS_HANDLERS: can't import '{name}\.orders\.broken': \w+"):
        load_handlers([name])


def test_handlers_in_what_is_taken_for_a_test_are_told_of(package: Package, caplog: pytest.LogCaptureFixture) -> None:
    # Given a handler whose module looks like one of tests, beside a module of tests
    handler = HANDLER.format(event="Driven").replace("on_Driven", "test_drive")
    name = package({"__init__.py": "", "test_drive.py": handler, "test_other.py": "import pytest\n" + BOOM})
    # When the package is loaded
    assert loaded(name) == set()
    # Then a warning names it and the cure, which works
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"{name}.test_drive has handlers" in warning
    assert "EVENTS_HANDLERS" in warning
    load_handlers([f"{name}.test_drive"])
    assert handler_named("test_drive")


def test_modules_that_are_passed_over_are_told_of(package: Package, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "events.loading")
    name = package({
        "__init__.py": "", "bare/orders.py": HANDLER.format(event="PassedOver"), "bare/other.py": "",
        "scripts/x.py": BOOM, "templates/page.html": "",
    })  # fmt: skip
    assert loaded(name) == {"bare", "bare.orders"}
    told = [record.getMessage().split()[0] for record in caplog.records]
    assert told == [f"{name}.bare.other", f"{name}.scripts"]


@pytest.mark.parametrize(
    ("source", "cure"),
    [
        ("import nothing_of_this_name.at_all", "install what 'nothing_of_this_name' is of "),
        ("import json.nothing_of_this_name", "; there is no 'json.nothing_of_this_name' in 'json': mend that import"),
        ("import {name}.nowhere", "; there is no '{name}.nowhere' in '{name}': mend that import"),
        ("from .broken.deep import x", "; there is no '{name}.broken.deep' in '{name}.broken': mend that import"),
        ("import django_like.models", "; add its application to INSTALLED_APPS"),
        ("1 / 0", "mend it there"),
        ("from events import nothing_of_this_name", "mend it there"),
        ("raise ImportError from ImportError(name='greenlet')", "; pip install 'celery-domain-events[asyncio]'"),
        ("import django_like.registry", "begin with `import django` and `django.setup()`"),
    ],
)  # fmt: skip
def test_what_fails_within_a_module_has_its_own_cure(package: Package, source: str, cure: str) -> None:
    # Given, among others, what Django raises when a model is imported that belongs to no application, or too early
    name = package({
        "__init__.py": "", "../django_like/registry.py": NOT_READY, "../django_like/models.py": NOT_INSTALLED,
    })  # fmt: skip
    package({"broken.py": f"# handles\n{source.format(name=name)}\n"})
    with pytest.raises(ConfigurationError) as caught:
        load_handlers([name])
    assert cure.format(name=name) in str(caught.value)
    assert "name importable modules" not in str(caught.value)
    for module in [module for module in sys.modules if module.startswith("django_like")]:
        del sys.modules[module]


@pytest.mark.parametrize("source", ["json.loads('no json')", "pytest.fail.Exception.no", "from . import deep"])
def test_the_place_that_is_named_is_the_applications_own(package: Package, source: str) -> None:
    # Given a module in which a library fails, or another module of its own does
    name = package({
        "__init__.py": "", "broken.py": f"import json, pytest\n# handles\n{source}\n", "deep.py": "\n\n\n1 / 0\n",
    })  # fmt: skip
    with pytest.raises(ConfigurationError) as caught:
        load_handlers([name])
    # Then it is the line of the application that one can mend
    place = "deep.py:4" if "deep" in source else "broken.py:3"
    assert f"{name}/{place});" in str(caught.value)


def test_where_nothing_is_set_and_nothing_there_it_says_what_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a folder without a handlers.py, and no setting
    monkeypatch.delenv("EVENTS_HANDLERS", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if not Path(one, "handlers").exists()])
    monkeypatch.delitem(sys.modules, "handlers", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        load_handlers(["handlers"])
    assert f"'handlers' is its default: write handlers.py in {tmp_path}, or set it to the modules" in str(caught.value)
    # And if the setting names it, then that is what is wrong
    monkeypatch.setenv("EVENTS_HANDLERS", "handlers")
    with pytest.raises(ConfigurationError, match="name importable modules"):
        load_handlers(["handlers"])


@pytest.mark.parametrize(
    ("modules", "level"), [("nothing_of_this_name", Level.ERROR), ("colorsys", Level.WARNING)]
)  # fmt: skip
def test_doctor_says_one_thing_of_the_modules(
    modules: str, level: Level, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given modules that can't be imported, or define no handler, while a handler is subscribed or none is
    monkeypatch.setattr("events.handling.registry._handlers", {})
    for subscribed in (False, True):
        pipeline = Pipeline(
            Settings(database_url=f"sqlite:///{tmp_path / 'events.db'}", broker_url="", handlers=modules)  # type: ignore[arg-type]
        )
        pipeline.migrate()
        if subscribed:
            pipeline.ledger.subscriptions.subscribe(
                [Subscription(event_type="Said", handler="hear", queue="events", max_attempts=3)]
            )
        findings = [one for one in examine(pipeline) if "EVENTS_HANDLERS" in one.check + one.found]
        pipeline.close()
        # Then that is told, once
        assert [one.level for one in findings] == [level]


def test_a_module_of_the_applications_own_that_is_named_events_is_found(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a project that has an `events` of its own, which its handlers import
    name = package({"__init__.py": "", "broken.py": "# handles\nimport events.models\n"})
    monkeypatch.chdir(tmp_path)
    assert other_events() == ""
    for file in ("events.py", "events/__init__.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
        # Then it is named, with what to do
        assert other_events() == str(tmp_path / file)
        with pytest.raises(
            ConfigurationError, match=rf"`events` is this package, and not {tmp_path / file}: rename that"
        ):
            load_handlers([name])
    # And a folder that is no module is nobody's business
    (tmp_path / "events.py").unlink()
    (tmp_path / "events" / "__init__.py").unlink()
    assert other_events() == ""


def test_commands_and_doctor_say_so(tmp_path: Path) -> None:
    # Given such a project, and the command as it is installed
    (tmp_path / "events.py").touch()
    command = [str(Path(sys.executable).parent / "events")]
    environment = {"PATH": os.environ["PATH"], "EVENTS_HANDLERS": "colorsys"}
    done = subprocess.run(
        [*command, "migrate"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    said = f"events: {tmp_path / 'events.py'} has the name of this package, and hides this package from programs that"
    assert done.stderr.startswith(said)
    assert done.stderr.endswith("; rename it\n")
    done = subprocess.run([*command, "doctor", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    (finding,) = [one for one in json.loads(done.stdout)["findings"] if one["check"] == "events"]
    assert finding["level"] == "error"
    assert str(tmp_path / "events.py") in finding["found"]


def test_doctor_finds_the_unrelated_package_that_is_imported_by_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an environment in which nothing else is named so
    assert names(cast(Pipeline, None)) == []
    # When PyPI's Events is installed there, too
    (tmp_path / "Events-0.5.dist-info").mkdir()
    (tmp_path / "Events-0.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: Events\nVersion: 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    # Then it is named, with the way out
    (finding,) = names(cast(Pipeline, None))
    assert (finding.level, finding.check) == (Level.ERROR, "events")
    assert "Events 0.5" in finding.found
    assert "--force-reinstall" in finding.cure


def test_an_error_within_a_call_of_ours_names_the_line_of_the_application(package: Package) -> None:
    # Given a module of handlers whose second line makes a function of this package fail
    name = package({"__init__.py": "", "orders.py": "from events import handles, seconds\nWAIT = seconds('soon')\n"})
    # When it is loaded
    with pytest.raises(ConfigurationError) as refused:
        load_handlers([name])
    # Then the error leads to that line
    assert re.search(r"orders\.py:2\)", str(refused.value))


def test_a_module_that_is_not_there_has_no_place() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_handlers(["nowhere_to_be_found"])
    assert "No module named 'nowhere_to_be_found'; name importable" in str(refused.value)
