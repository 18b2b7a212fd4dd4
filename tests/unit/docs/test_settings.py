"""docs/settings.md has the settings of the code."""

import re
from datetime import timedelta

from pydantic_core import PydanticUndefined

from events.settings.environment import setting_names
from events.settings.settings import Settings
from support.documents import DOCS, between


def settings_table() -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for field, variable in setting_names().items():
        info = Settings.model_fields[field]
        assert info.default is not PydanticUndefined
        rows.append(f"| `{variable}` | {_shown(info.default)} | {_linked(info.description or '')} |")
    return "\n".join(rows)


def _linked(description: str) -> str:
    """The code names pages as seen from the repository; on the page itself they are links."""
    return re.sub(r"docs/([\w/-]+\.md)", r"[docs/\1](\1)", description)


def _shown(default: object) -> str:
    if isinstance(default, timedelta):
        return f"{default.total_seconds():g} s"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`" if default else ""
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"`{default}`" if default != "" else ""


def test_the_settings_table_is_that_of_the_code() -> None:
    assert between(DOCS / "settings.md", "settings") == settings_table()
