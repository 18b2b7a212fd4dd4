"""Runs the cases of tests/support/django_site by Django's own test runner, in a process of their own."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from support.servers import server_url

SITE = Path(__file__).parent / "django_site"
ROOT = Path(__file__).parents[2]
SERVERS = {"postgres": "POSTGRES", "pgbouncer": "PGBOUNCER"}


def run_cases(modules: Sequence[str], database: str, folder: Path, **settings: str) -> int:
    """Run modules of cases in one process; all must pass. Returns their number.

    Args:
        database: memory, file, postgres or pgbouncer.
        settings: what site_settings.py reads, without `CASES_`.
    """
    command = [sys.executable, "-m", "django", "test", *(f"books.cases.{one}" for one in modules), "--noinput"]
    name = f"cases_{uuid4().hex[:12]}"
    if database in SERVERS:
        settings["database"] = f"{server_url(SERVERS[database]).rpartition('/')[0]}/{name}"
    else:
        settings["database"] = database
    if database == "pgbouncer":  # whose connections outlive the tests, so that Django can't drop the database
        command.append("--keepdb")
    try:
        environment = _environment(folder, pooled=database == "pgbouncer", **settings)
        ended = subprocess.run(command, cwd=SITE, env=environment, capture_output=True, text=True, timeout=600)
    finally:
        if database in SERVERS:
            _drop(f"test_{name}_default", f"test_{name}_other")
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert "ResourceWarning" not in said, said
    found = re.search(r"Ran (\d+) test", said)
    assert found, said
    return int(found[1])


def _environment(folder: Path, *, pooled: bool, **settings: str) -> dict[str, str]:
    passed_on = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    given = {f"CASES_{name.upper()}": value for name, value in settings.items()}
    ours = {
        "CASES_FOLDER": str(folder),
        "DJANGO_SETTINGS_MODULE": "site_settings",
        "PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}",
        "PYTHONWARNINGS": "error",
    }
    return passed_on | given | ours | ({"EVENTS_LISTEN": "off"} if pooled else {})


def _drop(*names: str) -> None:
    with psycopg.connect(server_url("POSTGRES"), autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
