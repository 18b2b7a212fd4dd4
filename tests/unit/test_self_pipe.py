"""A pipe that wakes a thread, and never touches a file that has its number after it was closed."""

import ast
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine

import events
from events.self_pipe import SelfPipe
from events.store.database.listener import PollingListener, SqliteListener
from support.forks import exit_code_of, fork

EVENTS = Path(events.__file__).parent


def is_woken(pipe: SelfPipe) -> bool:
    return bool(select.select([pipe.reader], [], [], 0)[0])


def in_place_of(pipe: SelfPipe, folder: Path) -> dict[int, Path]:
    """Close the pipe, and open files until both of its numbers are theirs. Returns them by number."""
    numbers, opened = {pipe.reader, pipe._writer}, dict[int, Path]()
    pipe.close()
    while not numbers <= opened.keys():
        path = folder / str(len(opened))
        path.write_bytes(b"precious")
        opened[os.open(path, os.O_RDWR)] = path
    return opened


def test_a_wait_ends_when_another_thread_wakes_it() -> None:
    # Given a pipe that nobody has woken
    pipe = SelfPipe()
    assert not is_woken(pipe)
    # When another thread wakes it, any number of times
    thread = threading.Thread(target=lambda: [pipe.wake() for _ in range(100_000)])
    thread.start()
    thread.join()
    # Then it is woken, until it is cleared
    assert is_woken(pipe)
    pipe.clear()
    pipe.clear()
    assert not is_woken(pipe)
    pipe.close()


USES: dict[str, Callable[[SelfPipe], object]] = {
    "wake": SelfPipe.wake,
    "clear": SelfPipe.clear,
    "close": SelfPipe.close,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_closed_pipe_leaves_the_files_alone_that_have_its_numbers_now(
    use: Callable[[SelfPipe], object], tmp_path: Path
) -> None:
    # Given a closed pipe, and files that were given its numbers: the database's, say
    pipe = SelfPipe()
    opened = in_place_of(pipe, tmp_path)
    try:
        # When somebody uses the pipe, then the files are as they were: open, unread and unwritten
        use(pipe)
        untouched(opened)
    finally:
        for number in opened:
            os.close(number)


def test_a_relay_that_has_ended_is_woken_without_harm(tmp_path: Path) -> None:
    # Given what a relay waits with, which was closed at its end, and files that were given its numbers
    engine = create_engine(f"sqlite:///{tmp_path / 'events.db'}")
    for listener in (SqliteListener(engine), PollingListener()):
        opened = in_place_of(listener._pipe, tmp_path)
        listener.close()
        try:
            # When a handler that still ran says that there is room, then the files are as they were
            listener.wake()
            untouched(opened)
        finally:
            for number in opened:
                os.close(number)


def untouched(opened: dict[int, Path]) -> None:
    assert {os.lseek(number, 0, os.SEEK_CUR) for number in opened} == {0}
    assert {file.read_bytes() for file in opened.values()} == {b"precious"}


def test_nothing_else_keeps_numbers_of_files_that_may_be_closed() -> None:
    # Given every module that reads, writes or closes a file by its number
    using = {
        str(file.relative_to(EVENTS))
        for file in EVENTS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"read", "write", "close", "dup2"}
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    # Then they are those whose files are open until the process ends, or are closed where they were opened
    assert using == {
        "self_pipe.py",
        "watchdog.py",  # standard error
        "worker/signals.py",  # its pipe is never closed
        "worker/logs.py",  # standard error and standard output
        "cli/tailing.py",  # standard output
        "store/database/files.py",  # opened in the same line
    }


def test_threads_that_wake_while_it_is_closed_write_to_no_file(tmp_path: Path) -> None:
    for round_ in range(200):
        # Given threads that wake a pipe without pause
        pipe, ended = SelfPipe(), threading.Event()

        def wake(pipe: SelfPipe = pipe, ended: threading.Event = ended) -> None:
            while not ended.is_set():
                pipe.wake()

        threads = [threading.Thread(target=wake) for _ in range(2)]
        for thread in threads:
            thread.start()
        # When it is closed, and files take its numbers at once
        writer = pipe._writer
        pipe.close()
        path = tmp_path / str(round_)
        opened = []
        while not opened or max(opened) < writer:
            opened.append(os.open(path, os.O_RDWR | os.O_CREAT))
        ended.set()
        for thread in threads:
            thread.join()
        # Then nobody has written to them
        assert path.read_bytes() == b""
        for number in opened:
            os.close(number)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_neither_wakes_its_parent_nor_touches_the_numbers_of_its_copy() -> None:
    # Given a pipe whose lock another thread holds at the very moment of a fork
    pipe, held, go = SelfPipe(), threading.Event(), threading.Event()

    def hold() -> None:
        with pipe._lock:
            held.set()
            go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    # When a child uses its copy in each way
    def use() -> None:
        pipe.wake()
        pipe.clear()
        pipe.close()
        assert os.fstat(pipe.reader)
        assert os.fstat(pipe._writer)

    child = fork(use)
    go.set()
    thread.join()
    # Then the child has ended, and the parent was not woken
    assert exit_code_of(child) == 0
    assert not is_woken(pipe)
    pipe.close()
