"""What lives as long as a process, in real workers: one in each, on its own event loop, closed when the worker ends."""

from collections import Counter
from pathlib import Path

import provided_things
import pytest

from events import publish
from support.system import System

MANY = 30


def notes(system: System) -> list[tuple[str, str, int, int]]:
    lines = [line.split() for line in (system.folder / "starts").read_text().splitlines()]
    return [(what, whose, int(pid), int(where)) for what, whose, pid, where in lines]


@pytest.mark.parametrize(
    ("mode", "pool"), [("sqlite", "prefork"), ("sqlite", "threads"), ("sqlite", "solo"), ("postgres", "prefork")]
)
def test_each_process_opens_its_own_and_closes_it_at_its_end(mode: str, pool: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="provided_things").in_use() as system:
        worker = system.start_worker(pool)
        # Given many deliveries that used them
        publish([provided_things.Called() for _ in range(MANY)])
        publish([provided_things.CalledPlainly() for _ in range(MANY)])
        assert system.settled(2 * MANY) == {"succeeded": 2 * MANY}
        # When the worker ends
        assert worker.stop() == 0
        said = notes(system)
        # Then each process has opened one, and each event loop one, and each is closed
        opened = Counter(one[1:] for one in said if one[0] == "opened")
        assert opened == Counter(one[1:] for one in said if one[0] == "closed")
        assert set(opened.values()) == {1}
        pids = {one[2] for one in said if one[0] == "ran"}
        assert {pid for whose, pid, _ in opened if whose == "pool"} == pids
        # And what was made of another is closed before it
        for pid in pids:
            order = [whose for what, whose, its, _ in said if what == "closed" and its == pid]
            assert order == sorted(order)


def test_a_worker_whose_handler_asks_for_what_nobody_provides_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "lacks_one.py").write_text(
        "from events import DomainEvent, handles\n"
        "class Client: ...\n"
        "class Lacked(DomainEvent): ...\n"
        "@handles(Lacked)\n"
        "def lacks(event: Lacked, client: Client) -> None: ...\n"
    )
    with System("sqlite", tmp_path, handlers="lacks_one").in_use() as system:
        system.environment["PYTHONPATH"] += f":{tmp_path}"
        worker = system.start(["celery", "-A", "events", "worker", "-P", "solo"])
        assert worker.exit_code() != 0
        lines = [line for line in worker.log.read_text().splitlines() if line.strip()]
        assert len(lines) == 1
        assert "handler 'lacks'" in lines[0]
        assert "parameter 'client' is Client, which can't be injected: nobody provides it; write a function" in lines[0]
