"""Settings, read from the environment once at start.

May import: errors, text. Open first: `settings`, with the table that docs/settings.md shows.
"""

from events.settings.durations import duration
from events.settings.environment import load_settings, setting_names, settings_from, stand_in
from events.settings.rules import SQLITE_WAITS
from events.settings.settings import HARD_LIMIT_GRACE, Settings
from events.settings.urls import BROKERS, ledger_url

__all__ = [
    "BROKERS",
    "HARD_LIMIT_GRACE",
    "SQLITE_WAITS",
    "Settings",
    "duration",
    "ledger_url",
    "load_settings",
    "setting_names",
    "settings_from",
    "stand_in",
]
