"""Django: the cases of tests/support/django_site, by Django's own test runner, on SQLite and PostgreSQL."""

from pathlib import Path

import pytest

from support.django_cases import run_cases
from support.size import alike

pytestmark = pytest.mark.timeout(1200)
LEAST = {  # cases that a module has at least
    "cases_publishing": 28,  # publish() is in the transaction that is open
    "cases_programs": 1,  # random programs of blocks leave the events of those that were committed
    "cases_in_tests": 10,  # applications test with a rolled-back transaction
    "cases_deliveries": 20,  # a handler's ORM is in its delivery's transaction
    "cases_admin": 7,
    "cases_tasks": 10,  # tasks of django.tasks are events
    "cases_addresses": 4,  # workers find the database by its address
    "cases_plain_tasks": 7,  # plain tasks of Celery share the fate of their block
}
ON = {
    "memory": LEAST.keys() - {"cases_deliveries"},  # a worker would have another memory
    "file": {"cases_publishing", "cases_in_tests", "cases_deliveries", "cases_tasks"},
    "postgres": LEAST.keys() - {"cases_addresses"},
    "pgbouncer": {"cases_deliveries"},
}


@pytest.mark.parametrize("database", ON)
def test_its_cases_hold(database: str, tmp_path: Path) -> None:
    modules = sorted(ON[database])
    assert run_cases(modules, database, tmp_path) >= sum(LEAST[module] for module in modules)


@pytest.mark.parametrize("database", ["memory", "postgres"])
def test_the_ledger_may_be_in_another_alias(database: str, tmp_path: Path) -> None:
    assert run_cases(["cases_elsewhere"], database, tmp_path, ledger="other") >= 5


@pytest.mark.parametrize(
    "settings",
    [{"pool": "1"}, {"migrations": "off"}, alike({"use_tz": "0"}), alike({"schema": "ledger"})],
    ids=lambda settings: "".join(settings),
)
def test_with_other_settings_of_django(settings: dict[str, str], tmp_path: Path) -> None:
    modules = ["cases_in_tests", "cases_deliveries", "cases_admin"]
    assert run_cases(modules, "postgres", tmp_path, **settings) >= sum(LEAST[module] for module in modules)
