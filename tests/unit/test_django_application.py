"""What other programs look for in our application: `manage.py migrate` each new migration, Celery a module `tasks`."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ROOT / "events" / "store" / "migrations" / "versions"
DJANGOS = ROOT / "events" / "django" / "migrations"


def test_the_newest_of_djangos_runs_the_newest_of_ours() -> None:
    newest = max(file.name for file in OURS.glob("[0-9]*.py")).partition("_")[0]
    last = max(DJANGOS.glob("[0-9]*.py"), key=lambda file: file.name).read_text()
    assert re.findall(r'UpdateLedger\("(\d+)"\)', last) == [newest], (
        f"the ledger has a migration {newest}: write one of Django's with UpdateLedger({newest!r}), so that "
        "`manage.py migrate` applies it and `migrate --check` tells of it"
    )


def test_celery_finds_no_tasks_in_our_application() -> None:
    """`autodiscover_tasks()` imports the module `tasks` of each application: ours would need django-tasks there."""
    assert not (ROOT / "events" / "django" / "tasks.py").exists()
