"""docs/seams.md says what of others the code touches that they don't promise: all of it, and nothing else."""

import ast
from pathlib import Path

import pytest

from support import seams

TESTS = seams.ROOT / "tests" / "unit"
TOUCHES = seams.touches()
ROWS = seams.rows()


def functions_in(*folders: str) -> set[str]:
    files = [file for folder in folders for file in (TESTS / folder).glob("test_*_seams.py")]
    trees = [seams.tree(file) for file in files]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_whatever_is_touched_stands_in_the_table() -> None:
    missing = [str(touch) for touch in TOUCHES if not any(row.covers(touch) for row in ROWS)]
    assert not missing, "not in docs/seams.md: find a documented way, or add a row and its test\n" + "\n".join(missing)


def test_whatever_stands_in_the_table_is_touched() -> None:
    idle = []
    for row in ROWS:
        for file in row.files:
            path = seams.PACKAGE / file
            found = seams.mentions(path) if path.exists() else set()
            gone = [name for name in row.names if seams.last(name) not in found]
            idle += [
                f"docs/seams.md: {name} of {row.library} is no longer in events/{file}"
                for name in gone
                if len(row.files) == 1
                or not any(
                    seams.last(name) in seams.mentions(seams.PACKAGE / other)
                    for other in row.files
                    if (seams.PACKAGE / other).exists()
                )
            ]
            idle += [f"docs/seams.md: events/{file} is not there"] if not path.exists() else []
    assert not idle, "\n".join(idle)


def test_each_row_is_guarded_by_tests_that_there_are() -> None:
    there = functions_in("seams", "flower")
    assert ROWS
    for row in ROWS:
        assert row.guards, f"no test guards {row.names} of {row.library}"
        assert set(row.guards) <= there, f"there is no {set(row.guards) - there}, which guards {row.names}"


def test_each_test_of_a_seam_guards_a_row() -> None:
    tests = {name for name in functions_in("seams") if name.startswith("test_")}
    assert tests <= {guard for row in ROWS for guard in row.guards}


def test_no_row_is_written_twice() -> None:
    places = [(row.library, name, file) for row in ROWS for name in row.names for file in row.files]
    assert len(places) == len(set(places))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import pool\npool._size", "_size"),
        ("def f(one):\n    one._private", "_private"),
        ("def f(one):\n    getattr(one, '_private')", "_private"),
        ("from library._inner import what", "_inner"),
        ("from library import _what", "_what"),
        ("import library\nlibrary.hook = None", "hook"),
        ("def f(one):\n    one.hook = None", "hook"),
        ("from billiard import pool as p\np.anything", "anything"),
        ("from celery.utils.log import base_logger", "base_logger"),
        ("import threading\nclass Ours(threading.Thread):\n    def f(self): self._started", "_started"),
        ("import threading\nclass Ours(threading.Thread):\n    def _bootstrap(self): ...", "_bootstrap"),
    ],
)
def test_what_is_private_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, name: str) -> None:
    # Given a module
    (tmp_path / "found.py").write_text(code)
    space: dict[str, object] = {"__name__": "events.found"}
    if "class" in code:
        exec(code, space)
    monkeypatch.setattr(seams.importlib, "import_module", lambda _: type("Module", (), space))
    # When it is looked through, then what it touches is found, with its place
    (touch, *_) = seams.touches(tmp_path)
    assert (touch.file, touch.name) == ("found.py", name)
    assert f"events/found.py:{touch.line}: {name}" in str(touch)


@pytest.mark.parametrize(
    "code",
    [
        "class Ours:\n    def f(self): self._mine = 1",
        "class Ours:\n    _mine = 1\ndef f(ours): ours._mine",
        "import os\nos._exit(1)",
        "row = None\nrow._mapping",
        "from events.text import _brief\n_brief",
        "def f(one): one.__dict__",
        "def f(error): error.events_marked = True",
    ],
)
def test_what_is_ours_or_documented_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    (tmp_path / "found.py").write_text(code)
    monkeypatch.setattr(seams.importlib, "import_module", lambda _: type("Module", (), {}))
    assert seams.touches(tmp_path) == []
