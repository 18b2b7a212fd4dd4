"""An app without a broker: each of its plain tasks is a row in the ledger, which a worker runs."""

from pathlib import Path

import pytest
from depot.tasks import CrateMoved

from events import publish
from support.depot import Depot
from support.size import alike
from support.waiting import eventually

MODES = ["sqlite", "postgres"]


@pytest.mark.parametrize(
    ("mode", "pool"),
    [("sqlite", "prefork"), ("postgres", "threads"), alike("sqlite", "threads"), alike("postgres", "prefork")],
)
def test_all_that_celery_has_runs(mode: str, pool: str, tmp_path: Path) -> None:
    with Depot(mode, tmp_path).in_use() as depot:
        # Given a worker of handlers, and an application that knows no broker
        depot.start_depot(pool=pool)
        # When it sends tasks in all ways, outside of a transaction
        results = depot.ask(
            """
ship.delay("alone")
chained, grouped, chorded = (send(how, how) for how in ("chain", "group", "chord"))
retried = at_last.delay(3)
ship.apply_async(("never",), expires=-1)
ship.apply_async(("later",), countdown=1.5, link=ship.si("linked"))
breaks.apply_async(("sadly",), link_error=told_of.s())
print(chained.get(timeout=60), grouped.get(timeout=60), chorded.get(timeout=60), retried.get(timeout=60))
"""
        )
        # Then all are done as in Celery's own workers, and their results are there
        assert results == ["chain.2 ['group.1', 'group.2', 'group.3'] 3 3"]
        depot.noted("ship linked")
        depot.noted("told_of sadly")
        assert depot.runs()["collect ['chord.1', 'chord.2', 'chord.3']"] == 1
        assert depot.runs()["ship alone"] == depot.runs()["ship later"] == depot.runs()["ship linked"] == 1
        assert [depot.runs()[f"at_last {number}"] for number in (1, 2, 3, 4)] == [1, 1, 1, 0]
        # And the one that has failed is a dead letter, with its own error
        (dead,) = eventually(lambda: [row for row in depot.deliveries() if row.state == "dead"], "it is dead")
        assert dead.error_type == "events.errors.TaskFailed"
        assert "ValueError: sadly" in dead.error
        assert dead.attempts == 1
        # And one that has expired was not run
        assert not any("never" in line for line in depot.notes())


@pytest.mark.parametrize("mode", ["sqlite", alike("postgres")])
def test_a_task_whose_worker_is_killed_is_run_again(mode: str, tmp_path: Path) -> None:
    with Depot(mode, tmp_path).in_use() as depot:
        # Given tasks that wait
        depot.ask("for number in range(40): ship.delay(number)")
        # When workers are killed in the midst of them
        for times in (5, 15, 25):
            worker = depot.start_depot()
            depot.noted("ship", times)
            worker.kill()
        depot.start_depot()
        # Then all have run
        assert depot.settled(40) == {"succeeded": 40}
        assert len(depot.runs()) == 40


@pytest.mark.parametrize("mode", MODES)
def test_a_handler_sends_with_its_outcome(mode: str, tmp_path: Path) -> None:
    with Depot(mode, tmp_path).in_use() as depot:
        depot.start_depot()
        publish([CrateMoved(crate=how, how=how) for how in ("delay", "chain", "group", "chord")])
        publish([CrateMoved(crate="undone", how=f"{how} and fail") for how in ("delay", "chain", "group", "chord")])
        depot.noted("collect ['chord.1', 'chord.2', 'chord.3']")
        depot.noted("ship chain.2")
        depot.noted("ship group.", 3)
        depot.settled(8)
        assert not any("undone" in line for line in depot.notes())
