"""Reads the settings from the environment, or from where a framework keeps those of an application. An error is one
line that names the setting and the cure."""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import AliasChoices, ValidationError

from events.errors import ConfigurationError
from events.settings.settings import PREFIX, Settings
from events.text import redact

_stand_ins: dict[str, Callable[[], Any]] = {}


class Source(Protocol):
    """Where a framework keeps the settings of an application."""

    def values(self) -> Mapping[str, Any]:
        """The settings that it has, by field. Raises ConfigurationError."""

    def name_of(self, field: str) -> str:
        """What people call the setting of this field there."""


_source: Source | None = None


def settings_from(source: Source | None) -> None:
    """What `source` has is the setting from now on, where the environment has no EVENTS_<FIELD>."""
    global _source
    _source = source


def stand_in(field: str, value: Callable[[], Any]) -> None:
    """Where the environment has no EVENTS_<FIELD>, `value()` is the setting from now on, asked for when it is needed.

    It comes before variables that stand in by another name (REDIS_URL), which may be there for something else.
    """
    _stand_ins[field] = value


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process: `overrides` first, then the environment, a framework's, stand-ins, the defaults.

    Raises:
        ConfigurationError: one line that names the setting, its value (no passwords) and the cure.
    """
    _refuse_typos(os.environ)
    names: dict[str, str] = {}
    if _source is not None:
        for field, value in _source.values().items():
            if _variables(field)[0] not in os.environ and field not in overrides:
                overrides[field], names[field] = value, _source.name_of(field)
    for field, stands_in in _stand_ins.items():
        if PREFIX + field.upper() not in os.environ and field not in overrides:
            overrides[field] = stands_in()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_complaint(problem, names) for problem in error.errors())) from None


def setting_names() -> dict[str, str]:
    """The environment variable of each field."""
    return {field: _variables(field)[0] for field in Settings.model_fields}


def _complaint(problem: Mapping[str, Any], of_framework: Mapping[str, str]) -> str:
    if not problem["loc"]:  # a rule about several settings
        return str(problem["msg"]).removeprefix("Value error, ")
    where = str(problem["loc"][0])
    field = next((field for field, name in setting_names().items() if where in (field, name)), where)
    if field in of_framework:
        name, value = of_framework[field], str(problem.get("input"))
    else:
        names = _variables(field)
        name = next((name for name in names if name in os.environ), names[0])  # the variable that was really set
        value = str(os.environ.get(name, problem.get("input")))
    if "://" in value:  # a space makes the URL wrong, but does not end the secret in it
        value = re.sub(r"\s+(?![A-Za-z][\w+.-]*://)", "%20", value.strip())
    reason = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}={redact(value)!r}: {reason[:1].lower()}{reason[1:]}"


def _variables(field: str) -> list[str]:
    alias = Settings.model_fields[field].validation_alias if field in Settings.model_fields else None
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [PREFIX + field.upper()]


def _refuse_typos(environment: Mapping[str, str]) -> None:
    known = set(setting_names().values())
    for name in environment:
        if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}TEST_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise ConfigurationError(f"{name} is no setting of this version; {hint}")
