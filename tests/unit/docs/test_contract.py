"""The example of docs/contract.md runs as it stands, after README's first block."""

from typing import Any

import pytest

import events
from events import pipeline
from events.testing import InlinePipeline
from support.documents import DOCS, README
from support.pasting import blocks


def defined() -> dict[str, Any]:
    """The names that the first example defines, when it is imported."""
    names: dict[str, Any] = {"__name__": "quickstart"}
    exec(compile(blocks(README, "python")[0], "README.md", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def migrating_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the example adds to `events migrate` is gone when its test ends."""
    monkeypatch.setattr(pipeline, "_on_migrate", [])


def test_the_example_of_a_contract_runs_as_it_stands(events_pipeline: InlinePipeline) -> None:
    # Given what the first example defines
    names = dict(vars(events)) | defined()
    events_pipeline.migrate()
    # When its translator is defined, and a card is added
    (translator,) = blocks(DOCS / "contract.md", "python")
    exec(compile(translator, "docs/contract.md", "exec"), names)
    events.publish(names["CardAdded"](library="Arrakis", title="Dune"))
    events_pipeline.run()
    # Then others can be told
    assert events.metrics()["library.card-added.v1"].count == 1
