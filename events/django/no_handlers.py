"""Stands for the handlers of applications that have none: importing it says so, as importing theirs would."""

from events.errors import ConfigurationError

raise ConfigurationError(
    "no application in INSTALLED_APPS has a module `handlers`: write handlers.py in one of them, or name the modules "
    "that define handlers by EVENTS = {'HANDLERS': ['shop.reactions']}"
)
