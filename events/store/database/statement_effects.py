"""The effects of a statement other than rows: on the transaction, or on the connection, which others use later.

A statement is judged by its text, and by the names in it: functions of the database may have such effects, too, and
triggers and views may call them (see `pg_catalog`).
"""

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any


class Touch(IntEnum):
    """The kinds of effects; the higher, the worse."""

    NOTHING = 0
    TRANSACTION = 1  # until the transaction ends
    CONNECTION = 2  # beyond it
    READ_ONLY = 3  # nothing can be written any more in this transaction
    END = 4  # of the transaction


# Literals and comments: their words have no effect.
_INNER = r"/\*(?:(?!/\*|\*/).)*\*/"  # a comment; PostgreSQL's may contain others
_NESTED = rf"/\*(?:(?!/\*|\*/).|{_INNER})*\*/|/\*.*?\*/"
_NAME = r'"(?:[^"]|"")*"'
_NO_SQL = re.compile(rf"\be'(?:\\.|''|[^'\\])*'|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|--[^\n]*|{_NESTED}|{_NAME}", re.S)
# The body of such a definition doesn't run now.
_BODY = re.compile(r"(\bcreate\b[^;]*?\b(?:begin\s+atomic|trigger\b[^;]*?\bbegin)\b).*?;\s*end\b", re.S)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)
_START = re.compile(r"(?:^|;)[\s(]*([a-z][^;]*)")  # the start of each statement in the text
_SUSPECT = re.compile(r"set_config|advisory|\btemp|setseed|snapshot|txid|xact|pg_settings")

_STARTS = [
    (Touch.END, r"(commit|end|abort|prepare\s+transaction)\b|rollback\b(?!(\s+(work|transaction))?\s+to\b)"),
    (Touch.CONNECTION, r"set\s+session\s+characteristics\b"),
    (Touch.READ_ONLY, r"(set|begin|start)\b.*\bread\s+only\b"),
    (Touch.READ_ONLY, r"set\b.*\btransaction_read_only\b.*\b(on|true|yes|1)\b"),
    (Touch.TRANSACTION, r"set\s+(local|transaction|constraints)\b|lock\b|begin\b|start\b"),
    (Touch.CONNECTION, r"declare\b.*\bwith\s+hold\b"),
    (Touch.TRANSACTION, r"declare\b"),
    (Touch.CONNECTION, r"(set|reset|discard|listen|unlisten|prepare|deallocate|load|attach|detach)\b"),
    (Touch.TRANSACTION, r"pragma\s+defer_foreign_keys\b"),
    (Touch.CONNECTION, r"pragma\s+[\w.\"]+\s*(=|\((?!.*\b(table|index)_))"),
    (Touch.TRANSACTION, r"create\s+(or\s+replace\s+)?((local|global)\s+)?temp\w*\b.*\bon\s+commit\s+drop\b"),
    (Touch.CONNECTION, r"create\s+(or\s+replace\s+)?((local|global)\s+)?temp\w*\b"),
    (Touch.CONNECTION, r"create\b[^(]*\btemp\s*\.\s*\w"),  # of SQLite
]
_STARTS_OF = [(touch, re.compile(pattern, re.S)) for touch, pattern in _STARTS]
_ANYWHERE = [
    (
        Touch.CONNECTION,
        re.compile(
            r"\bpg_(try_)?advisory_(un)?lock|\bsetseed\b|\binto\s+temp|\bpg_temp\b|"
            r"\bupdate\s[^;]*?\bpg_settings\"?\s+set\b"
        ),
    ),
    (
        Touch.TRANSACTION,
        re.compile(r"\bpg_(try_)?advisory_xact_lock|\bpg_export_snapshot\b|\btxid_current|\bpg_current_xact"),
    ),
]
_SET_CONFIG = re.compile(r"\bset_config\b")
# In the body of a function a statement may begin anywhere; "UPDATE t SET x" is found there, and is harmless.
IN_BODIES = (
    r"set_config|advisory|setseed|\mtemp|\mlisten\M|\mlock\s+table|\mdiscard\M|\mreset\s|"
    r"\mset\s+(local|session|role|constraints|transaction|search_path|time)\M|"
    r"(^|;|\mbegin|\mthen|\melse|\mloop|'|\$)\s*set\s"
)
_BEYOND = re.compile(
    r"\bset\s+(?!local|constraints|transaction)\w+\s*(=|\bto\b)|\bset\s+(session|role)\b|\blisten\b|"
    r"\breset\s|\bdiscard\b|advisory_(un)?lock|setseed|\bfalse\s*\)"
)


def touch_of(statement: str, values: Any, names: Mapping[str, Touch]) -> Touch:
    """The effect of a statement with these parameters. `names`: the effects of names in the database."""
    touch, sets_config, words = _judged(statement)
    if sets_config:
        touch = max(touch, _by_set_config(statement, values))
    if names:
        touch = max([touch, *(names[word] for word in words & names.keys())])
    return touch


def touch_of_body(source: str) -> Touch:
    """The effect of a function whose source matches IN_BODIES."""
    text = _COMMENT.sub(" ", source.lower())
    beyond = _BEYOND.search(text) or ("temp" in text and "on commit drop" not in text)
    return Touch.CONNECTION if beyond else Touch.TRANSACTION


@lru_cache(4096)
def _judged(statement: str) -> tuple[Touch, bool, frozenset[str]]:
    lower = statement.lower()
    bare = _BODY.sub(r"\1", _NO_SQL.sub(_without, lower))
    touch = Touch.NOTHING
    for start in _START.findall(bare):
        if start.startswith(("insert", "select", "update", "delete", "with")):
            continue
        touch = max(touch, next((found for found, pattern in _STARTS_OF if pattern.match(start)), Touch.NOTHING))
        if start.startswith(("do ", "do\n")):
            touch = max(touch, _by_block(lower))
    sets_config = False
    if _SUSPECT.search(lower):
        touch = max([touch, *(found for found, pattern in _ANYWHERE if pattern.search(bare))])
        sets_config = _SET_CONFIG.search(bare) is not None
    return touch, sets_config, _words(lower)


def _without(found: re.Match[str]) -> str:
    """The text without literals and comments. A quoted name stays, if it can be read as nothing else."""
    return found[0] if re.fullmatch(r'"\w+"', found[0]) else " "


def _by_block(text: str) -> Touch:
    body = re.compile(IN_BODIES.replace(r"\m", r"\b").replace(r"\M", r"\b"))
    return touch_of_body(text) if body.search(text) else Touch.NOTHING


def _by_set_config(statement: str, values: Any) -> Touch:
    """The effect of set_config(): its third parameter, a literal or a value, says whether it is local."""
    given: Iterable[Any] = values.values() if isinstance(values, Mapping) else (values or ())
    flags = [value for value in given if isinstance(value, bool)]
    lower = statement.lower()
    beyond = False in flags or re.search(r"\b(false|'f'|'false')", lower)
    is_local = not beyond and (flags or re.search(r"\b(true\b|'t'|'true')", lower))
    return Touch.TRANSACTION if is_local else Touch.CONNECTION


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z_][a-z0-9_$]*", text))
