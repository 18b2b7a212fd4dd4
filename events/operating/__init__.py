"""The actions of operators: look at dead letters, correct and replay them, pause handlers, follow events. The command
line, Flower and applications all call these classes.

May import: ledger and the words below. Open first: `dead_letters`.
"""

from events.operating.correcting import Correcting
from events.operating.dead_letters import DeadLetters
from events.operating.handlers import Upkeep
from events.operating.inspection import Inspection
from events.operating.parked import ParkedMessages
from events.operating.prefixes import AT_ONCE, bounds, only_one
from events.operating.tailing import Happening, Tail
from events.operating.times import parse_time

__all__ = [
    "AT_ONCE",
    "Correcting",
    "DeadLetters",
    "Happening",
    "Inspection",
    "ParkedMessages",
    "Tail",
    "Upkeep",
    "bounds",
    "only_one",
    "parse_time",
]
