"""The benchmark: what it is asked for, what it leaves behind, and a run as small as can be."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from rigs.bench.chart import OURS, bars, drawn
from rigs.bench.facts import Facts, gathered
from rigs.bench.figures import Goal, Measurement, NotMeasured, Result, judge
from rigs.bench.filling import fill, write_on
from rigs.bench.main import asked_for, exit_code, measured
from rigs.bench.options import QUICK_SCALE, TARGETS, Options, parse
from rigs.bench.proc import local_ports, pss, sockets
from rigs.bench.quick import ORDER, Once, chosen, left_out
from rigs.bench.rig import Rig
from rigs.bench.rivals import installing
from rigs.bench.rivals.known import OTHERS, PGQUEUER
from rigs.bench.written import markdown, write

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def measurements(options: Options) -> list[Measurement]:
    return list(asked_for(cast(Rig, None), options))  # nothing is measured, so there is nothing to measure with


@pytest.fixture
def results() -> list[Result]:
    """One that is met, one that is not, one that failed; a rival that was measured, one that was not."""

    def goal(chart: str, against: str, **more: Any) -> Goal:
        what = f"rows | {chart}; {against}"
        return Goal(what, "runs/s", "ours", "theirs", chart=chart, against=against, **more)

    def judged(target: int | None, ours: float, theirs: float, of: Goal, reason: str = "") -> list[Result]:
        samples = {} if reason else {"ours": [ours], "theirs": [theirs]}
        return judge(Measurement(target, of.what, {}, [of]), samples, reason, failed="ended" in reason)

    return [
        *judged(4, 3000, 1000, goal("Redis", "plain Celery", at_least=3)),
        *judged(4, 1500, 1000, goal("RabbitMQ", "plain Celery", at_least=2)),
        *judged(5, 0, 0, goal("", "plain Celery"), "the worker ended\nwith 1"),
        *judged(None, 3100, 2000, goal("Redis", "<dramatiq>", guarantee="at least once", settings="8 threads")),
        *judged(None, 0, 0, goal("Redis", "FastStream", guarantee="at least once"), "can't be installed"),
    ]


FACTS = Facts({"processor": "abacus", "cores": "2"}, {"Python": "3.11", "Redis": "7"})


def test_a_full_run_is_of_all_targets_and_of_the_rivals() -> None:
    options = parse([])
    assert (options.targets, options.runs, options.scale, options.rivals, options.write) == (TARGETS, 5, 1, True, None)
    found = measurements(options)
    assert {one.target for one in found} == {*TARGETS, None}
    assert sum(one.target is None for one in found) == sum(rival.wanted is None for rival in OTHERS)


def test_target_6_is_to_be_faster_than_each_library_by_what_is_wanted() -> None:
    # When target 6 alone is asked for
    goals = [goal for one in measurements(parse(["--target", "6"])) for goal in one.goals]
    # Then each library of which something is wanted is measured, and nothing else is
    wanted = {(rival.name, f">= {rival.wanted:g}x") for rival in (PGQUEUER, *OTHERS) if rival.wanted is not None}
    assert {("pgqueuer", ">= 1.2x"), ("DBOS", ">= 5x"), ("Oban", ">= 3x"), ("dramatiq", ">= 1x")} <= wanted
    assert {(goal.against, goal.wanted) for goal in goals if goal.guarantee and goal.wanted} == wanted


def test_rivals_can_be_left_out_and_asked_for() -> None:
    for line, wanted in ("--no-rivals", False), ("--target 4", False), ("--target 4 --rivals", True):
        options = parse(line.split())
        assert options.rivals is wanted
        assert any(one.target is None for one in measurements(options)) is wanted


def test_the_command_is_kept_as_it_was_given() -> None:
    assert parse(["--write", "a folder", "--quick"]).command == "scripts/bench --write 'a folder' --quick"


@pytest.mark.parametrize("arguments", [["--runs", "0"], ["--scale", "x"], ["--target", "18"]])
def test_nonsense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_quick_is_one_small_run_without_what_takes_long() -> None:
    # Given
    options = parse(["--quick"])
    assert (options.runs, options.scale) == (1, QUICK_SCALE)
    # When
    short, out = chosen(measurements(options))
    # Then every line of ORDER is somebody's, in that order, and the long ones are left out
    assert [(one.target, one.name.startswith(begin)) for one, (_, begin) in zip(short, ORDER, strict=True)] == [
        (target, True) for target, _ in ORDER
    ]
    assert {9, 10, 11, 12, 13, 14, 15, 16, 17} <= {one.target for one in out}
    assert not {9, 10, 11, 12, 13, 14, 15, 16, 17} & {one.target for one in short}
    # And one line says so
    assert left_out(out, short).startswith(
        "--quick left out targets 9, 10, 11, 12, 13, 14, 15, 16, 17; a part of 4, 5, 6, 8; "
        "dramatiq on RabbitMQ, FastStream on RabbitMQ. "
    )


@pytest.mark.parametrize(("once", "runs"), [(False, 5), (True, 1)])
def test_what_takes_half_an_hour_is_run_once(once: bool, runs: int) -> None:
    # Given a measurement, and a call for five runs of each side
    made: list[str] = []

    def measure(side: str) -> float:
        made.append(side)
        return 1

    sides = {side: partial(measure, side) for side in ("ours", "theirs")}
    measurement = Measurement(13, "rows", sides, [Goal("rows", "runs/s", "ours", "theirs")], once=once)
    # When it is made
    (result,) = measured(measurement, cast(Rig, SimpleNamespace(say=lambda _: None)), parse([]))
    # Then the sides have taken turns, as often as that
    assert made == ["ours", "theirs"] * runs
    assert result.samples == {"ours": [1.0] * runs, "theirs": [1.0] * runs}


def test_quick_measures_equal_sides_once_and_installs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given two measurements with the same baseline
    calls: list[str] = []

    def side(name: str) -> float:
        calls.append(name)
        return 1.0

    once = Once()
    pair = [Measurement(4, name, {"ours": partial(side, name), "plain": partial(side, "plain")}, []) for name in "ab"]
    # When both are measured
    for measurement in pair:
        for measure in once.of(measurement).sides.values():
            assert measure() == 1.0
    # Then
    assert calls == ["a", "plain", "b"]
    # And a rival that is not there is no reason to fetch it
    monkeypatch.setattr(installing, "CACHE", tmp_path)
    with pytest.raises(NotMeasured, match="not installed yet"):
        installing.program(PGQUEUER, calls.append, install=False)
    assert not list(tmp_path.iterdir())


def test_a_rival_that_cannot_be_installed_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given an installer that finds nothing
    monkeypatch.setattr(installing, "CACHE", ROOT / ".cache" / "bench" / "none")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    # When it is tried
    with pytest.raises(NotMeasured, match="can't be installed") as reason:
        installing.program(PGQUEUER, lambda _: None)
    # Then the run goes on, and is not bad
    goal = Goal("rows", "runs/s", "ours", "theirs")
    found = judge(Measurement(None, "rows", {}, [goal]), {}, str(reason.value), failed=False)
    assert exit_code(found, parse([])) == 0


def test_a_rival_that_needs_a_newer_python_than_there_is_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a library for a Python that nobody has, of which a version manager has a program that only says so
    manager = tmp_path / "python3.99"
    manager.write_text("#!/bin/sh\nexit 127\n")
    manager.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    # When it is looked for
    with pytest.raises(NotMeasured) as reason:
        installing.interpreter(replace(PGQUEUER, python=(3, 99)))
    # Then one line says what is missing
    assert str(reason.value) == "pgqueuer needs Python 3.99 or newer, and there is none on the PATH"
    # And one that is there is taken
    manager.write_text("#!/bin/sh\nexit 0\n")
    assert installing.interpreter(replace(PGQUEUER, python=(3, 99))) == str(manager)
    # And ours, if it is new enough
    assert installing.interpreter(PGQUEUER) == sys.executable


def test_quick_fails_only_if_a_measurement_failed(results: list[Result]) -> None:
    below = [result for result in results if not result.failed]
    assert exit_code(below, parse([])) == 1
    assert exit_code(below, parse(["--quick"])) == 0
    assert exit_code(results, parse(["--quick"])) == 1


def test_the_markdown_is_of_whole_tables(results: list[Result]) -> None:
    # When
    text = markdown(results, parse(["--runs", "2"]), FACTS)
    # Then each table's rows have as many cells as its head
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert [len(table) for table in tables] == [2 + 3, 2 + 2]
    for table in tables:
        cells = [row.replace("\\|", "").count("|") for row in table]
        assert len(set(cells)) == 1, table
    # And it says what was found, by whom, on what
    assert "| 4 | rows \\| Redis; plain Celery | 3,000 | 1,000 | plain Celery | runs/s | 3.00x | >= 3x | yes |" in text
    assert "| **no** |" in text
    assert "**failed**: the worker ended |" in text
    assert "not measured: can't be installed" in text
    assert "| <dramatiq> | Redis | 2,000 | 3,100 | 1.55x | 8 threads | at least once |" in text
    for fact in ("processor: abacus", "cores: 2", "Python 3.11, Redis 7", "command: `scripts/bench --runs 2`"):
        assert fact in text


def test_the_chart_is_well_formed_and_as_long_as_the_figures(results: list[Result]) -> None:
    assert {group: [bar.name for bar in found] for group, found in bars(results).items()} == {
        "Redis": [OURS, "<dramatiq>", "plain Celery"],
        "RabbitMQ": [OURS, "plain Celery"],
    }
    # When
    svg = ElementTree.fromstring(drawn(results))
    # Then it has a title, a style for dark pages, and a bar for each figure, in its place and in proportion
    assert (svg.findtext(f"{SVG}title") or "").startswith("Deliveries a second")
    assert "prefers-color-scheme: dark" in (svg.findtext(f"{SVG}style") or "")
    found = [bar for bar in svg.iter(f"{SVG}rect") if bar.attrib["class"] != "page"]
    lengths = [float(bar.attrib["width"]) for bar in found]
    assert [round(length / lengths[0], 2) for length in lengths] == [1, 0.67, 0.33, 0.5, 0.33]
    assert max(float(bar.attrib["x"]) for bar in found) + max(lengths) < float(svg.attrib["width"])


def test_a_chart_of_nothing_says_so() -> None:
    svg = ElementTree.fromstring(drawn([]))
    assert any("Nothing" in (words.text or "") for words in svg.iter(f"{SVG}text"))


def test_the_facts_are_those_of_this_machine() -> None:
    facts = gathered({"postgres": "15.1", "rabbitmq": ""})
    assert all(facts.machine.values())
    assert facts.versions["PostgreSQL"] == "15.1"
    assert {"Python", "Celery", "kombu", "psycopg", "SQLAlchemy"} <= set(facts.versions)
    assert "RabbitMQ" not in facts.versions


def test_both_files_are_written(results: list[Result], tmp_path: Path) -> None:
    write(tmp_path / "new" / "bench", results, parse([]), FACTS)
    assert sorted(path.name for path in (tmp_path / "new" / "bench").iterdir()) == ["bench.md", "bench.svg"]


def test_a_process_of_a_worker_is_known_by_the_ports_of_its_connections() -> None:
    # Given a connection that this process has opened
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        # When its sockets are looked up
        ports = local_ports()
        mine = {ports[held] for held in sockets(os.getpid()) if held in ports}
        # Then the connection's own port is among them
        assert client.getsockname()[1] in mine
    # And its memory is known
    assert pss(os.getpid()) > 1


@pytest.fixture
def rig() -> Iterator[Rig]:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))  # PostgreSQL runs as another user, and can't enter tmp_path
    folder.chmod(0o755)
    try:
        with Rig(folder, lambda _: None) as rig:
            yield rig
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(100)
def test_a_ledger_that_is_filled_by_sql_is_pruned_and_written_on_like_any_other(rig: Rig) -> None:
    # Given a filled ledger, half of which is old
    template = rig.template("bench_filled", partial(fill, rig, 6000, 60, old=3000))
    with rig.bed("", template) as bed:

        def states() -> dict[str, int]:
            return dict(map(tuple, bed.rows("SELECT state, count(*) FROM event_deliveries GROUP BY state")))

        assert states() == {"succeeded": 6000, "pending": 60}
        # When the command prunes it
        pruned = json.loads(bed.python("-m", "events", "prune", "--older-than", "30d", "--yes", "--json"))
        # Then the old half goes
        assert (pruned["events"], pruned["deliveries"]) == (1000, 3000)
        assert states() == {"succeeded": 3000, "pending": 60}
        # When as much is written again
        write_on(rig, bed, 6000, 3000)
        # Then it is finished, and nothing is left for a relay
        assert states() == {"succeeded": 6000, "pending": 60}
        assert bed.number("SELECT count(*) FROM event_store WHERE NOT processed OR fanned_out <> 1") == 0
        # And its rows died on the way as the package's do, of which a part was cleaned up as autovacuum would do it
        written = "SELECT n_tup_upd, vacuum_count FROM pg_stat_user_tables WHERE relname = 'event_deliveries'"
        bed.until(lambda: bed.number(written), 3000, "what a session tells as it ends")
        assert tuple(bed.rows(written)[0]) == (3000, 1)


@pytest.mark.timeout(100)
def test_a_tiny_run_measures_and_writes(tmp_path: Path) -> None:
    # When
    done = subprocess.run(
        [sys.executable, ROOT / "rigs" / "bench", "--quick", "--target", "1", "--scale", "0.01", "--json",
         "--write", tmp_path],
        capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    # Then
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["quick"]
    assert [result["target"] for result in found["results"]] == [1, 1]
    assert all(result["ours"] > 0 < result["baseline"] for result in found["results"])
    assert "PostgreSQL" in (tmp_path / "bench.md").read_text()
