"""An SQLite ledger is its owner's alone, unless somebody has said otherwise."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from events.diagnosis import Finding, Level
from events.diagnosis.database import permissions
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store.database.files import make_private


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """One that everybody can reach."""
    opened = [tmp_path, *tmp_path.parents]
    modes = {one: one.stat().st_mode for one in opened}
    mine = [one for one, mode in modes.items() if not mode & stat.S_IXOTH]
    for one in mine:
        one.chmod(modes[one] | stat.S_IXOTH)
    yield tmp_path
    for one in mine:
        one.chmod(modes[one])


def modes(folder: Path) -> dict[str, int]:
    return {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()}


def used(url: str) -> Pipeline:
    """A ledger in which something is."""
    pipeline = Pipeline(Settings(database_url=url, broker_url=""))
    pipeline.migrate()
    return pipeline


def found(pipeline: Pipeline) -> Finding:
    (finding,) = permissions(pipeline)
    return finding


@pytest.mark.parametrize("name", ["events.db", "file:{}/events.db?uri=true", "file:{}/events.db?mode=rwc&uri=true"])
def test_a_file_that_we_make_is_its_owners_alone(folder: Path, name: str) -> None:
    name = name.format(folder) if name.startswith("file:") else f"{folder}/{name}"
    pipeline = used(f"sqlite:///{name}")
    with pipeline.ledger.engine.connect():  # -wal and -shm are there while somebody is connected
        assert modes(folder) == {"events.db": 0o600, "events.db-wal": 0o600, "events.db-shm": 0o600}
    assert found(pipeline).level is Level.OK
    pipeline.close()


@pytest.mark.parametrize("name", ["{}", "file:{}?mode=rwc&uri=true"])
@pytest.mark.parametrize("link", ["to itself", "to its folder", "to a link"])
def test_a_file_behind_a_link_is_its_owners_alone(folder: Path, link: str, name: str) -> None:
    # Given a link to where no file is yet
    there = folder / "there"
    there.mkdir()
    if link == "to its folder":
        (folder / "here").symlink_to(there)
        path = folder / "here" / "events.db"
    else:
        path = folder / "link.db"
        path.symlink_to("there/events.db" if link == "to itself" else "another.db")
        (folder / "another.db").symlink_to(there / "events.db")
    # When the file is made by its name, then neither it nor what SQLite makes beside it is for others
    pipeline = used("sqlite:///" + name.format(path))
    with pipeline.ledger.engine.connect():
        assert modes(there) == {"events.db": 0o600, "events.db-wal": 0o600, "events.db-shm": 0o600}
    assert found(pipeline).level is Level.OK
    # And if it becomes that, the doctor tells of all three
    with pipeline.ledger.engine.connect():
        for one in there.iterdir():
            one.chmod(0o644)
        assert all(f"{there}/events.db{end}" in found(pipeline).cure for end in ("", "-wal", "-shm"))
    pipeline.close()


def test_a_file_that_is_there_stays_as_it_is_and_the_doctor_says_so(folder: Path) -> None:
    # Given a file that others can read
    (folder / "events.db").touch()
    pipeline = used(f"sqlite:///{folder}/events.db")
    # Then it and what stands beside it stay so, and that is said, with the cure
    with pipeline.ledger.engine.connect():
        assert set(modes(folder).values()) == {0o644}
        warning = found(pipeline)
    assert warning.level is Level.WARNING
    assert "events.db-wal" in warning.found
    assert warning.cure.startswith(f"run chmod o-rwx {folder}/events.db ")
    # And a group that shares it is nobody else
    for one in folder.iterdir():
        one.chmod(0o660)
    assert found(pipeline).level is Level.OK
    # And neither is a file in a folder that nobody else can enter
    for one in folder.iterdir():
        one.chmod(0o644)
    folder.chmod(0o700)
    assert found(pipeline).level is Level.OK
    pipeline.close()


def test_a_file_that_is_not_to_be_made_is_not_made(folder: Path) -> None:
    pipeline = Pipeline(Settings(database_url=f"sqlite:///file:{folder}/none.db?mode=rw&uri=true", broker_url=""))
    with pytest.raises(Exception, match="unable to open"), pipeline.ledger.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert modes(folder) == {}
    pipeline.close()


def test_nobody_connects_while_a_new_file_is_open_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a thread that makes the file, and at the moment at which it closes it, another that is to connect
    done: list[str] = []
    threads: list[threading.Thread] = []
    really = os.close

    def connect() -> None:
        make_private(None, None, [tmp_path / "events.db"], None)
        done.append("another goes on")

    def close(number: int) -> None:
        threads.append(threading.Thread(target=connect))
        threads[0].start()
        threads[0].join(0.1)  # it would be through by then
        done.append("closed")
        really(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        make_private(None, None, [tmp_path / "events.db"], None)
    threads[0].join()
    # Then that one goes on when the file is closed: its locks would be gone else
    assert done == ["closed", "another goes on"]
