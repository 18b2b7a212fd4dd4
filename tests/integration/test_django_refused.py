"""Programs of a Django project that can't begin say so in one line, with the cure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SITE = Path(__file__).parents[1] / "support" / "django_site"
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PUBLISH = "from events import DomainEvent, publish; publish(type('Refused', (DomainEvent,), {})())"
CELERY = [str(BIN / "celery"), "-A", "events", "worker", "-P", "solo"]


def said_by(command: list[str], folder: Path, **environment: str) -> str:
    """What the program says when it fails: its last line."""
    passed_on = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    ours = {
        "CASES_DATABASE": "file",
        "CASES_FOLDER": str(folder),
        "DJANGO_SETTINGS_MODULE": "site_settings",
        "PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}",
    }
    ended = subprocess.run(
        command, cwd=folder, env=passed_on | ours | environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode != 0, ended.stdout
    return ended.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "environment", "words"),
    [
        (["events", "status"], {"DJANGO_SETTINGS_MODULE": "nowhere.settings"},
         "DJANGO_SETTINGS_MODULE=nowhere.settings: Django can't be set up: ModuleNotFoundError"),
        (["events", "status"], {"EVENTS_DATABASE_URL": "sqlite:///x.db"},
         "'events.django' takes the ledger's database from DATABASES['default']: unset it"),
        (["events", "status"], {"CASES_DATABASE": "memory"}, "run `events migrate`"),
        (["events", "status"], {}, "run `events migrate`"),
        (CELERY, {"DJANGO_SETTINGS_MODULE": "", "EVENTS_HANDLERS": "books.handlers"},
         "set DJANGO_SETTINGS_MODULE, and add 'events.django' to INSTALLED_APPS"),
        (CELERY, {"EVENTS_HANDLERS": "events.django.no_handlers"},
         "no application in INSTALLED_APPS has a module `handlers`: write handlers.py in one of them"),
        ([sys.executable, "-c", PUBLISH], {}, "Django isn't set up yet"),
        ([sys.executable, "-c", f"import django; django.setup(); {PUBLISH}"], {},
         "DATABASES['default'] has no ledger, or an old one: run `python manage.py migrate`"),
    ],
)  # fmt: skip
def test_it_is_said_in_one_line(command: list[str], environment: dict[str, str], words: str, tmp_path: Path) -> None:
    command = [str(BIN / command[0]), *command[1:]] if command[0] == "events" else command
    assert words in said_by(command, tmp_path, **environment)


def test_importing_this_package_imports_no_django(tmp_path: Path) -> None:
    program = "import sys, events, events.cli, events.pipeline; sys.exit('django' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, timeout=60)
    assert ended.returncode == 0
