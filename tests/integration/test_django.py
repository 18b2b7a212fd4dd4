"""Django: the cases of tests/support/django_site, by Django's own test runner, on SQLite and PostgreSQL."""

from pathlib import Path

import pytest

from support.django_cases import run_cases

pytestmark = pytest.mark.timeout(1200)
EVERYWHERE = ["memory", "file", "postgres"]


@pytest.mark.parametrize("database", EVERYWHERE)
def test_publishing_is_in_the_transaction_that_is_open(database: str, tmp_path: Path) -> None:
    assert run_cases("cases_publishing", database, tmp_path) >= 28


@pytest.mark.parametrize("database", ["memory", "postgres"])
def test_random_programs_of_blocks_leave_the_events_of_those_that_were_committed(database: str, tmp_path: Path) -> None:
    assert run_cases("cases_programs", database, tmp_path) == 1


@pytest.mark.parametrize("database", EVERYWHERE)
def test_applications_test_with_a_rolled_back_transaction(database: str, tmp_path: Path) -> None:
    assert run_cases("cases_in_tests", database, tmp_path) >= 10


@pytest.mark.parametrize("database", ["file", "postgres", "pgbouncer"])
def test_a_handlers_orm_is_in_its_deliverys_transaction(database: str, tmp_path: Path) -> None:
    assert run_cases("cases_deliveries", database, tmp_path) >= 20


@pytest.mark.parametrize("database", ["memory", "postgres"])
def test_the_admin(database: str, tmp_path: Path) -> None:
    assert run_cases("cases_admin", database, tmp_path) >= 7


@pytest.mark.parametrize("database", EVERYWHERE)
def test_tasks_of_django_are_events(database: str, tmp_path: Path) -> None:
    assert run_cases("cases_tasks", database, tmp_path) >= 10


def test_workers_find_the_database_by_its_address(tmp_path: Path) -> None:
    assert run_cases("cases_addresses", "memory", tmp_path) == 4


@pytest.mark.parametrize("database", ["memory", "postgres"])
def test_plain_tasks_of_celery_share_the_fate_of_their_block(database: str, tmp_path: Path) -> None:
    assert run_cases("cases_plain_tasks", database, tmp_path) == 7


@pytest.mark.parametrize("database", ["memory", "postgres"])
def test_the_ledger_may_be_in_another_alias(database: str, tmp_path: Path) -> None:
    assert run_cases("cases_elsewhere", database, tmp_path, ledger="other") >= 5


@pytest.mark.parametrize(
    "settings",
    [{"pool": "1"}, {"use_tz": "0"}, {"schema": "ledger"}, {"migrations": "off"}],
    ids=lambda settings: "".join(settings),
)
def test_with_other_settings_of_django(settings: dict[str, str], tmp_path: Path) -> None:
    for module in ("cases_in_tests", "cases_deliveries", "cases_admin"):
        assert run_cases(module, "postgres", tmp_path, **settings)
