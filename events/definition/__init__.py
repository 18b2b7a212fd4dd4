"""What a class of events and the function of a handler say about themselves, checked when Python defines them.

May import: errors. Open first: `declaration`, what an event's fields may not be called.
"""

from events.definition.declaration import aggregate_field, check_attributes, check_fields, keys_of
from events.definition.ids import uuid7
from events.definition.libraries import LIBRARIES
from events.definition.masks import spellings
from events.definition.origin import Origin, here, replaces
from events.definition.signature import Parameter, check_call, choices, inner, parameters_of

__all__ = [
    "LIBRARIES",
    "Origin",
    "Parameter",
    "aggregate_field",
    "check_attributes",
    "check_call",
    "check_fields",
    "choices",
    "here",
    "inner",
    "keys_of",
    "parameters_of",
    "replaces",
    "spellings",
    "uuid7",
]
