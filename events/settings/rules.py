"""Settings that are right by themselves and wrong together: a table of rules, and one line for each broken rule."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

SQLITE_WAITS = timedelta(seconds=30)  # the time that a writer waits for another


@dataclass(frozen=True, slots=True)
class Rule:
    """The setting `longer` is at least `times` as long as `shorter`, which is a setting or a time with a name.

    Attributes:
        when: whether the rule applies to these settings.
        else_: what happens if the rule is broken.
    """

    longer: str
    times: int
    shorter: str | tuple[timedelta, str]
    else_: str
    when: Callable[[Any], bool] = lambda _: True

    def broken_by(self, settings: Any) -> str:
        """The complaint about these settings, with the cure; "" if they keep the rule."""
        if not self.when(settings):
            return ""
        have: timedelta = getattr(settings, self.longer)
        if isinstance(self.shorter, str):
            least, named = getattr(settings, self.shorter), f"EVENTS_{self.shorter.upper()}"
        else:
            least, named = self.shorter
        if have >= self.times * least:
            return ""
        name = f"EVENTS_{self.longer.upper()}"
        cure = f"set {name} to {_shown(self.times * least)} or more"
        if isinstance(self.shorter, str):
            cure += f", or {named} to {_shown(have / self.times)} or less"
        times = f"{self.times} times " if self.times > 1 else ""
        return f"{name}={_shown(have)} is less than {times}{named} ({_shown(least)}): {self.else_}; {cure}"


# The least that a setting can be, and what happens if it is less.
LEAST = {
    "time_limit": (timedelta(seconds=1), "handlers would be stopped before they have begun"),
    "lease": (timedelta(seconds=1), "a busy worker loses its deliveries"),
    "stale_after": (timedelta(seconds=1), "wake-ups that are on their way would be sent again and again"),
    "poll_interval": (timedelta(milliseconds=10), "the relay would do nothing but ask"),
    "watchdog": (timedelta(seconds=2), "a worker that is only busy would be taken for hung, and ended"),
    "broker_timeout": (timedelta(milliseconds=100), "a broker that is only busy would be taken for lost"),
}


def _has_broker(settings: Any) -> bool:
    return bool(settings.broker_url)


# Only combinations that do harm stand here. A lease or a stale window that is too short costs a superfluous wake-up,
# which the ledger makes harmless, and heartbeats keep long handlers whatever the lease.
RULES = (
    Rule(
        "watchdog",
        1,
        (SQLITE_WAITS + timedelta(seconds=5), "what a writer may wait for another on SQLite"),
        "a worker that only waits would be taken for hung, and ended",
        lambda settings: settings.database_url.startswith("sqlite"),
    ),
    Rule(
        "watchdog",
        2,
        "broker_timeout",
        "a relay that waits for a broker would be taken for hung, and ended",
        _has_broker,
    ),
)


def broken_rules(settings: Any) -> list[str]:
    """One line for each rule that these settings break."""
    found = [line for rule in RULES if (line := rule.broken_by(settings))]
    if settings.ledger_schema and settings.database_url.startswith("sqlite"):
        found.append(f"EVENTS_SCHEMA={settings.ledger_schema} is for PostgreSQL, and SQLite has no schemas; unset it")
    return found


def _shown(time: timedelta) -> str:
    return f"{time.total_seconds():g}s"
