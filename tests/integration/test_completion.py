"""What the shell offers after Tab, from the ledger; and nothing at all where there is none."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.cli import completion as completing
from events.current_pipeline import use_pipeline
from events.ledger.dead_letters import DeadLetterFilter
from events.pipeline import Pipeline
from events.settings.settings import Settings
from support.shelf import EVENTS, HANDLERS, fill
from support.store import Store
from support.waiting import eventually


@pytest.fixture
def _here(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process is that of the command; it waits as long as a busy machine takes."""
    monkeypatch.setattr(completing, "_PATIENCE", 60.0)
    pipeline = Pipeline(Settings(database_url=store.url, broker_url=""))
    use_pipeline(pipeline)
    yield
    use_pipeline(None)
    pipeline.close()


@pytest.mark.usefixtures("_here")
def test_handlers_event_types_and_ids_are_offered(store: Store) -> None:
    # Given a ledger with all of them
    ids = fill(store)
    # Then those that begin so are offered
    assert completing.handlers("library.") == list(HANDLERS[:2])
    assert completing.handlers("x") == []
    assert completing.event_types("") == sorted([*EVENTS, "Unheard"])
    assert completing.unhandled_types("") == ["Unheard"]
    assert completing.events(str(ids[2])[:12]) == [str(ids[2])]
    assert set(map(str, ids)) < set(completing.events(""))
    assert set(completing.dead_letters("")) == set(map(str, ids[:2]))
    assert completing.dead_letters(str(ids[0])[:12]) == [str(ids[0])]
    assert completing.dead_letters(str(ids[2])[:12]) == []
    assert completing.discarded("") == completing.discarded(str(ids[2])[:12]) == [str(ids[2])]
    keys = {group.key for group in store.ledger.dead.groups(DeadLetterFilter())}
    assert set(completing.groups("")) == keys
    assert len(completing.parked("")) == 2


@pytest.mark.usefixtures("_here")
def test_a_name_that_a_shell_would_run_is_not_offered(store: Store) -> None:
    for evil in ("$(touch x)", "a;b", "`id`", "a b", "a\nb", "'", "a\\", "\u202eb", "a|b", "(x)"):
        store.subscribe(f"h{evil}", event_type=f"E{evil}")
    good = sorted(["good-one_2.x", "größe_prüfen", "注文を送る", "सूचना_दें"])
    for name in good:
        store.subscribe(name)
    assert completing.handlers("") == good
    assert completing.handlers("grö") == ["größe_prüfen"]
    assert completing.event_types("E") == []


def completed(line: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What the script of bash asks of the command."""
    words = line.split(" ")
    wanted = {"_EVENTS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return subprocess.run(
        [Path(sys.executable).with_name("events")], env={"PATH": os.environ["PATH"]} | wanted | environment, cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_shell_is_answered(store: Store, tmp_path: Path) -> None:
    ids = fill(store)
    url = {"EVENTS_DATABASE_URL": store.url}
    for line, offers in (
        ("events handlers pause library.h", list(HANDLERS[:2])),
        (f"events dead replay {str(ids[0])[:10]}", [str(ids[0])]),
        ("events find --event Unh", ["Unheard"]),
    ):
        # A busy machine may take longer than somebody at a keyboard wants to wait.
        done = eventually(lambda line=line: (one := completed(line, tmp_path, **url)).stdout and one, line)  # type: ignore[misc]
        assert (done.stdout.split(), done.stderr) == (offers, "")


@pytest.mark.parametrize(
    "url",
    ["sqlite:///nowhere.db", "sqlite:///absent/nowhere.db", "postgresql://me:s3cret@127.0.0.1:1/shop", "mysql://h/x"],
)
def test_without_a_ledger_there_is_silence(tmp_path: Path, url: str) -> None:
    done = completed("events handlers pause ", tmp_path, EVENTS_DATABASE_URL=url)
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []
