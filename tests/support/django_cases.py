"""Runs the cases of tests/support/django_site by Django's own test runner, in a process of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from support.servers import server_url

SITE = Path(__file__).parent / "django_site"
ROOT = Path(__file__).parents[2]


def site_environment(database: str, folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a process of the site. `database`: memory, file or postgres; `settings` without CASES_."""
    if database == "postgres":
        database = f"{server_url('POSTGRES').rpartition('/')[0]}/cases_{uuid4().hex[:12]}"
    passed_on = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return passed_on | {f"CASES_{name.upper()}": value for name, value in settings.items()} | {
        "CASES_DATABASE": database,
        "CASES_FOLDER": str(folder),
        "DJANGO_SETTINGS_MODULE": "site_settings",
        "PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}",
        "PYTHONWARNINGS": "error",
    }  # fmt: skip


def run_cases(module: str, database: str, folder: Path, **settings: str) -> int:
    """Run a module of cases, all of which must pass. Returns their number."""
    command = [sys.executable, "-m", "django", "test", f"books.cases.{module}", "--noinput"]
    ended = subprocess.run(
        command,
        cwd=SITE,
        env=site_environment(database, folder, **settings),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = ended.stdout + ended.stderr
    assert "ResourceWarning" not in said, said
    found = re.search(r"Ran (\d+) test", said)
    assert found, said
    return int(found[1])
