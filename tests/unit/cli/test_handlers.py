"""`events handlers list`: how long a handler takes, for people and for scripts."""

import json

import pytest
from typer.testing import CliRunner

from events import DomainEvent, handles
from events.cli import handlers
from events.ledger.records import ONE_BY_ONE
from events.testing import InlinePipeline


class Listed(DomainEvent):
    pass


@handles(Listed)
def lists_slowly(event: Listed) -> None: ...


def listed(*options: str) -> str:
    result = CliRunner().invoke(handlers.app, ["list", *options])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("pace", "shown", "seconds", "one_by_one"),
    [(0.0125, "12.5 ms", 0.0125, False), (1.0, "1,000.0 ms", 1.0, False), (ONE_BY_ONE, "one by one", None, True)],
)
def test_a_handler_shows_how_long_it_takes_or_that_its_deliveries_travel_one_by_one(
    events_pipeline: InlinePipeline, pace: float, shown: str, seconds: float | None, one_by_one: bool
) -> None:
    # Given a handler of which workers have told this
    events_pipeline.subscribe()
    events_pipeline.ledger.subscriptions.note_pace("lists_slowly", pace)
    # Then people are shown it in words, and scripts get it as a value
    assert shown in listed()
    (found,) = (one for one in json.loads(listed("--json")) if one["handler"] == "lists_slowly")
    assert (found["seconds"], found["one_by_one"]) == (seconds, one_by_one)
