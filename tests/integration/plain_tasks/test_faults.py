"""Whatever dies between the commit and the sending of a plain task: it is sent, and each message has the id that was
told."""

import json
from collections import Counter
from pathlib import Path

import pytest
from depot.tasks import CrateMoved

from events import publish
from support.depot import Depot
from support.size import alike

SEND = """
for number in range({begin}, {end}):
    with Session(get_engine()) as session:
        session.begin()
        print(ship.delay(number).id, number)
        if number % 5 == 0:
            session.rollback()
        else:
            session.commit()
"""


@pytest.mark.parametrize("mode", ["rabbitmq", alike("redis")])
def test_kills_between_commit_and_sending_lose_no_task(mode: str, tmp_path: Path) -> None:
    with Depot(mode, tmp_path).in_use() as depot:
        # Given a worker of plain tasks, which Celery would lose with it, and two that relay and send
        told: dict[str, str] = {}
        sends = ("-Q", depot.environment["EVENTS_QUEUE"])
        depot.start_depot("-Q", depot.queue)
        workers = [depot.start_depot(*sends), depot.start_depot(*sends)]
        count = 50
        for turn in range(4):
            # When tasks are committed, and those that relay and send them are killed
            begin, end = turn * count, turn * count + count
            lines = depot.ask(SEND.format(begin=begin, end=end))
            told |= dict(line.split() for line in lines)
            workers[turn % 2].kill()
            workers[turn % 2] = depot.start_depot(*sends)
        # Then all that were committed run, and no other
        expected = {f"ship {number}" for number in range(4 * count) if number % 5}
        depot.noted("ship", len(expected))
        depot.settled(len(expected))
        for name in sorted(expected):
            depot.noted(f"{name} ")
        assert set(depot.runs()) == expected
        # And each has the id that was told: who minds repeats knows them by it
        ran = {line.partition(" id=")[2]: line.split()[1] for line in depot.notes()}
        assert all(told[task_id] == number for task_id, number in ran.items())


@pytest.mark.parametrize("mode", ["redis", alike("rabbitmq")])
def test_a_broker_that_is_away_stops_nobody_from_sending(mode: str, tmp_path: Path) -> None:
    with Depot(mode, tmp_path).in_use() as depot:
        depot.start_depot()
        depot.ask("ship.delay('warm')")
        depot.noted("ship warm")
        # Given a broker that is away, When tasks are committed, Then the application doesn't notice
        depot.take_broker_away()
        depot.ask("with Session(get_engine()) as session, session.begin():\n    send('group', 'a'); send('chain', 'b')")
        # And they run once it is back
        depot.bring_broker_back()
        depot.noted("ship a.", 3)
        depot.noted("ship b.2")
        assert set(depot.runs().values()) == {1}


@pytest.mark.parametrize("mode", ["redis", alike("rabbitmq")])
def test_canvases_of_handlers_are_sent_whole_or_not_at_all(mode: str, tmp_path: Path) -> None:
    with Depot(mode, tmp_path).in_use() as depot:
        depot.start_depot()
        publish([CrateMoved(crate=how, how=how) for how in ("delay", "chain", "group", "chord")])
        publish([CrateMoved(crate="undone", how=f"{how} and fail") for how in ("delay", "chain", "group", "chord")])
        depot.noted("collect ['chord.1', 'chord.2', 'chord.3']")
        depot.noted("ship chain.2")
        depot.noted("ship group.", 3)
        depot.settled(8)
        assert not any("undone" in line for line in depot.notes())


def test_a_task_that_can_not_be_sent_is_a_dead_letter(tmp_path: Path) -> None:
    with Depot("redis", tmp_path).in_use() as depot:
        # Given a task that this worker can't write, beside others
        depot.ask(
            "with Session(get_engine()) as session, session.begin():\n"
            "    ship.delay('good')\n    ship.apply_async(('bad',), serializer='of another world', task_id='bad-id')\n"
            "    ship.delay('good, too')"
        )
        depot.start_depot()
        # Then it is a dead letter at once, which people can look at
        assert depot.settled(3) == {"succeeded": 2, "dead": 1}
        shown = json.loads(depot.run("events", "dead", "list", "--json").stdout)
        assert "task depot.tasks.ship, bad-id, can't be sent" in json.dumps(shown)
        # And the others are sent
        depot.noted("ship good", 2)
        assert Counter(depot.runs().values()) == {1: 2}
