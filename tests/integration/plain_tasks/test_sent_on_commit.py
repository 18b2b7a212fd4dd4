"""A plain task that is sent in a transaction is sent when that has committed, and never if it was rolled back."""

from pathlib import Path

import pytest

from support.depot import Depot

MODES = ["redis", "rabbitmq", "sqlite", "postgres"]
SENDS = """
with Session(get_engine()) as session, session.begin():
    one = ship.delay("kept")
    print(one.id)
try:
    with Session(get_engine()) as session, session.begin():
        ship.delay("undone")
        raise KeyError
except KeyError:
    pass
with Session(get_engine()) as session, session.begin():
    point = session.begin_nested()
    ship.delay("in a savepoint that is undone")
    point.rollback()
    ship.apply_async(("late",), countdown=1)
    ship.apply_async(("slow",), {"by": "lorry"}, queue=app.conf.task_default_queue + "-slow", task_id="my-id")
"""


@pytest.mark.parametrize("mode", MODES)
def test_it_is_sent_if_and_only_if_the_transaction_commits(mode: str, tmp_path: Path) -> None:
    with Depot(mode, tmp_path).in_use() as depot:
        depot.start_depot()
        # When tasks are sent in transactions and savepoints, some of which are rolled back
        (task_id,) = depot.ask(SENDS)
        # Then those that were committed run, with the ids that were told
        assert depot.noted("ship kept") == [f"ship kept  id={task_id}"]
        assert depot.noted("ship slow") == ["ship slow {'by': 'lorry'} id=my-id"]
        depot.noted("ship late")
        depot.settled(3)
        # And no other does
        assert sum(depot.runs().values()) == 3
