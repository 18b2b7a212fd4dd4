"""Settings that are right by themselves and wrong together are refused by one line."""

from datetime import timedelta
from typing import Any

import pytest

from events.errors import ConfigurationError
from events.settings.environment import load_settings
from events.settings.rules import RULES

SQLITE, POSTGRES = "sqlite:///x.db", "postgresql://u:secret@h/d"
WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"database_url": SQLITE, "broker_url": "", "watchdog": "20s"}, ["EVENTS_WATCHDOG=20s", "SQLite", "35s or more"]),
    (
        {"database_url": POSTGRES, "broker_url": "redis://h", "watchdog": "8s"},
        ["EVENTS_WATCHDOG=8s", "EVENTS_BROKER_TIMEOUT", "10s or more", "4s or less"],
    ),
]


@pytest.mark.parametrize(("settings", "words"), WRONG)
def test_what_does_not_go_together_is_one_line_with_both_names_and_the_cure(
    settings: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(**settings)
    line = str(refused.value)
    assert "\n" not in line
    assert "secret" not in line
    assert all(word in line for word in words), line


def test_each_rule_is_kept_by_the_defaults_and_broken_by_one_of_these() -> None:
    assert len(WRONG) == len(RULES)
    for url, broker in ((SQLITE, ""), (SQLITE, "redis://h"), (POSTGRES, ""), (POSTGRES, "amqp://h")):
        load_settings(database_url=url, broker_url=broker)


def test_a_rule_that_does_not_apply_says_nothing() -> None:
    found = load_settings(database_url=POSTGRES, broker_url="", watchdog="3s", stale_after="1s", broker_timeout="9s")
    assert found.watchdog == timedelta(seconds=3)


def test_exactly_as_long_as_needed_is_enough() -> None:
    load_settings(database_url=POSTGRES, broker_url="redis://h", watchdog="10s", broker_timeout="5s", stale_after="5s")
