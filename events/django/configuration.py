"""Settings as Django has them: `settings.EVENTS` for what docs/settings.md calls EVENTS_..., and `settings.DATABASES`.

    EVENTS = {"DATABASE": "default", "BROKER_URL": "redis://...", "LEASE": "30s"}

A variable EVENTS_<NAME> in the environment comes before `EVENTS["<NAME>"]`, so that a deployment can differ.
"""

import difflib
import os
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connections

from events.django.addresses import url_of
from events.django.discovery import handlers_of_applications
from events.errors import ConfigurationError
from events.settings import setting_names

DATABASE = "DATABASE"  # the alias of the ledger's database
_DEFAULT = "default"


class DjangoSettings:
    """Keeps the contract of events.settings' Source."""

    def values(self) -> Mapping[str, Any]:
        given = _given()
        if "EVENTS_DATABASE_URL" in os.environ:
            raise ConfigurationError(
                f"EVENTS_DATABASE_URL is set, and 'events.django' takes the ledger's database from "
                f"DATABASES[{ledger_alias()!r}]: unset it, or name another alias by EVENTS = {{'DATABASE': ...}}"
            )
        fields = {name: field for field, name in _names().items()}
        values = {fields[key]: value for key, value in given.items() if key != DATABASE}
        values["database_url"] = url_of(connections[ledger_alias()])
        if "handlers" not in values:
            values["handlers"] = handlers_of_applications()
        for field in ("handlers", "bridges", "forward"):
            if isinstance(values.get(field), list):
                values[field] = tuple(values[field])
        return values

    def name_of(self, field: str) -> str:
        if field == "database_url":
            return f"DATABASES[{ledger_alias()!r}]"
        return f"settings.EVENTS[{_names()[field]!r}]"


def ledger_alias() -> str:
    """The alias in DATABASES of the ledger's database. Raises ConfigurationError if there is none of that name."""
    alias = _given().get(DATABASE, _DEFAULT)
    if alias not in connections.settings:
        raise ConfigurationError(
            f"settings.EVENTS['DATABASE']={alias!r} is no alias in DATABASES; use one of "
            f"{', '.join(map(repr, connections.settings))}"
        )
    return str(alias)


def ledger_schema() -> str:
    """The schema of the ledger's tables; "" for that to which the search path leads."""
    given = getattr(settings, "EVENTS", {})
    return str(os.environ.get("EVENTS_SCHEMA") or (given.get("SCHEMA", "") if isinstance(given, dict) else ""))


def _given() -> dict[str, Any]:
    """What settings.EVENTS has. Raises ConfigurationError, with the cure, for what can't be a setting."""
    given = getattr(settings, "EVENTS", {})
    if not isinstance(given, dict):
        raise ConfigurationError(
            f"settings.EVENTS is a {type(given).__name__}; use a dict, such as {{'BROKER_URL': 'redis://...'}}"
        )
    known = {DATABASE, *_names().values()}
    for key in given:
        if key in known:
            continue
        if key in ("DATABASE_URL", "EVENTS_DATABASE_URL"):
            cure = "say which of DATABASES it is: 'DATABASE': 'default'"
        elif str(key).removeprefix("EVENTS_").upper() in known:
            cure = f"write {str(key).removeprefix('EVENTS_').upper()!r}"
        elif near := difflib.get_close_matches(str(key).upper(), known, n=1):
            cure = f"did you mean {near[0]!r}?"
        else:
            cure = f"known: {', '.join(sorted(known))}"
        raise ConfigurationError(f"settings.EVENTS[{key!r}] is no setting of this version; {cure}")
    return given


def _names() -> dict[str, str]:
    """The key in settings.EVENTS of each field."""
    return {field: name.removeprefix("EVENTS_") for field, name in setting_names().items() if field != "database_url"}
