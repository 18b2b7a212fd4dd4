"""The chaos rig: a short run of every mode, and proof that its verdict sees what it should."""

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from rigs.chaos.machines import Machine
from rigs.chaos.main import settle
from rigs.chaos.options import MODES
from rigs.chaos.plan import draw
from rigs.chaos.tables import metadata
from rigs.chaos.verdict import Verdict, judge
from support.size import alike
from support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mode", [alike(mode) if mode == "rabbitmq-classic" else mode for mode in MODES])
def test_a_short_run_of_every_mode_holds_all_invariants(mode: str) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "chaos", "--mode", mode, "--seconds", "12", "--seed", "7", "--json"],
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    verdict = json.loads(done.stdout)[mode]
    assert verdict["holds"]
    assert verdict["figures"]["faults"] > 0
    assert verdict["figures"]["events committed"] >= 3


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_means_one_plan_and_every_fault_ends_in_time(mode: str) -> None:
    plan = draw(mode, 600, 7)
    assert plan == draw(mode, 600, 7) != draw(mode, 600, 8)
    assert all(fault.at + fault.lasts <= 600 for fault in plan)
    assert len({(fault.kind, fault.target) for fault in plan}) >= 7


@pytest.mark.parametrize("left", [0, 3])
def test_what_is_done_slowly_is_not_stuck_and_what_stands_still_is(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    # Given a backlog of which something is done at each look, for longer than one waits, down to some
    backlog = [f"{number}: book is pending" for number in range(10)]

    def unfinished(_: object) -> list[str]:
        if len(backlog) > left:
            backlog.pop()
        return list(backlog)

    monkeypatch.setattr("rigs.chaos.main.unfinished", unfinished)
    system: Any = SimpleNamespace(engine=create_engine("sqlite://"), control=False)
    # Then these are what is stuck
    assert settle(system, 0.5, lambda _: None) == backlog[:left]
    assert len(backlog) == left


def test_a_server_whose_port_was_given_away_while_it_was_down_waits_for_it(tmp_path: Path) -> None:
    # Given a server whose port another program has, for a moment
    machine = Machine("redis", tmp_path)
    with socket.create_server(("127.0.0.1", machine.port)):
        starting = threading.Thread(target=machine.start)
        starting.start()
        log = tmp_path / "redis" / "log"
        eventually(lambda: log.exists() and "in use" in log.read_text(), "it has tried")
    # Then it starts when that one is done
    starting.join()
    try:
        assert machine.answers()
    finally:
        machine.end()


def test_a_server_that_is_restarted_by_two_faults_at_once_runs_once(tmp_path: Path) -> None:
    # Given a server
    machine = Machine("redis", tmp_path)
    machine.start()
    try:
        # When four restart it at the same moment
        restarting = [threading.Thread(target=machine.restart) for _ in range(4)]
        for thread in restarting:
            thread.start()
        for thread in restarting:
            thread.join()
        # Then one of it runs, and is ours
        assert machine.answers()
        assert running_in(machine.folder) == [machine.pid]
    finally:
        machine.end()
    assert running_in(machine.folder) == []


def running_in(folder: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if (process / "cwd").resolve() == folder and (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A run that went well: one committed event, one that was rolled back."""
    engine = create_engine(f"sqlite:///{tmp_path / 'run.db'}")
    metadata.create_all(engine)
    for statement in (
        "CREATE TABLE event_store (id TEXT, event_type TEXT, aggregate_id TEXT)",
        "CREATE TABLE event_deliveries (event_id TEXT, handler TEXT, state TEXT)",
        "INSERT INTO event_store (id) VALUES ('a')",
        "INSERT INTO chaos_business VALUES ('a', 'Ordered')",
        "INSERT INTO chaos_effects VALUES (1, 'a', 'book', 1, NULL, 2.0), (2, 'a', 'notify', 1, NULL, 2.0), "
        "(11, 'a', 'audits', 1, NULL, 2.0), (12, 's', 'signs_of_life_1', 1, NULL, 2.0), "
        "(13, 's', 'signs_of_life_2', 1, NULL, 2.0)",
        "INSERT INTO event_store (id) VALUES ('s')",
    ):
        _run(engine, statement)
    (tmp_path / "producer-1.txt").write_text(
        f"intent a Ordered\ncommitted a Ordered {time.time()}\nintent b Ordered\nrolled-back b Ordered\n"
    )
    (tmp_path / "starts").write_text("a book 1 7\na notify 1 7\n")
    yield engine
    engine.dispose()


def _run(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def verdict_on(engine: Engine, folder: Path, unfinished: tuple[str, ...] = ()) -> Verdict:
    return judge(
        engine, [folder / "producer-1.txt"], folder / "starts", list(unfinished), folder / "operator.txt", control=False
    )


def test_a_good_run_holds(engine: Engine, tmp_path: Path) -> None:
    assert verdict_on(engine, tmp_path).holds


def test_an_effect_that_is_missing_is_lost_unless_it_is_a_dead_letter(engine: Engine, tmp_path: Path) -> None:
    _run(engine, "DELETE FROM chaos_effects WHERE handler = 'notify'")
    assert len(verdict_on(engine, tmp_path).lost) == 1
    _run(engine, "INSERT INTO event_deliveries VALUES ('a', 'notify', 'dead')")
    assert verdict_on(engine, tmp_path).holds


def test_an_effect_that_is_there_twice_is_duplicated(engine: Engine, tmp_path: Path) -> None:
    _run(engine, "INSERT INTO chaos_effects VALUES (3, 'a', 'book', 2, NULL, 3.0)")
    assert len(verdict_on(engine, tmp_path).duplicated) == 1


def test_what_is_unfinished_is_stuck(engine: Engine, tmp_path: Path) -> None:
    assert verdict_on(engine, tmp_path, ("a: book is sent",)).stuck == ["a: book is sent"]


def test_whatever_is_done_for_what_was_rolled_back_is_a_ghost(engine: Engine, tmp_path: Path) -> None:
    with (tmp_path / "starts").open("a") as starts:
        starts.write("b book 1 7\n")
    _run(engine, "INSERT INTO chaos_effects VALUES (3, 'b', 'book', 1, NULL, 3.0)")
    _run(engine, "INSERT INTO event_store (id) VALUES ('b')")
    assert len(verdict_on(engine, tmp_path).ghost) == 3


def test_a_plain_task_that_was_never_sent_is_lost_and_one_that_was_rolled_back_is_a_ghost(
    engine: Engine, tmp_path: Path
) -> None:
    # Given a transaction with plain tasks that was committed, and one that was rolled back
    with (tmp_path / "producer-1.txt").open("a") as said:
        said.write(f"intent t Tasked\ncommitted t Tasked {time.time()}\nintent u Tasked\nrolled-back u Tasked\n")
    _run(engine, "INSERT INTO chaos_business VALUES ('t', 'Tasked')")
    _run(engine, "INSERT INTO chaos_effects VALUES (20, 't', 'charges', 1, NULL, 3.0)")
    # Then the task has to be sent
    assert verdict_on(engine, tmp_path).lost == ["t: its plain task was never sent"]
    with (tmp_path / "starts").open("a") as starts:
        starts.write("t sends 1 7\n")
    assert verdict_on(engine, tmp_path).holds
    # And that of the other must not be there
    _run(engine, "INSERT INTO event_store VALUES ('x', 'tasks.chaos', 'u')")
    assert verdict_on(engine, tmp_path).ghost == ["u: rolled back, and an event"]


def test_what_an_operator_discarded_is_given_up_and_what_he_restored_must_be_there(
    engine: Engine, tmp_path: Path
) -> None:
    with (tmp_path / "producer-1.txt").open("a") as producer:
        producer.write(f"intent h Hopeless\ncommitted h Hopeless {time.time()}\n")
    _run(engine, "INSERT INTO chaos_business VALUES ('h', 'Hopeless')")
    assert len(verdict_on(engine, tmp_path).lost) == 1
    (tmp_path / "operator.txt").write_text("discarding h\n")
    assert verdict_on(engine, tmp_path).holds
    (tmp_path / "operator.txt").write_text("discarding h\nrestored h\n")
    assert len(verdict_on(engine, tmp_path).lost) == 1


def test_a_row_of_another_tenant_is_a_ghost(engine: Engine, tmp_path: Path) -> None:
    with (tmp_path / "producer-1.txt").open("a") as producer:
        producer.write(f"intent t Tenanted\ncommitted t Tenanted {time.time()}\n")
    _run(engine, "INSERT INTO chaos_business VALUES ('t', 'Tenanted')")
    _run(engine, "INSERT INTO chaos_effects VALUES (4, 't', 'writes_as_its_tenant', 1, 'another', 3.0)")
    assert verdict_on(engine, tmp_path).ghost == ["t: written as tenant another"]


def test_a_worker_that_takes_nothing_is_stuck(engine: Engine, tmp_path: Path) -> None:
    _run(engine, "DELETE FROM chaos_effects WHERE handler = 'signs_of_life_2'")
    assert verdict_on(engine, tmp_path).stuck == ["worker-2 gave no sign of life"]
