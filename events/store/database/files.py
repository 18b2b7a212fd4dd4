"""The file of an SQLite ledger: where it is, and who may read it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


def file_of(database: str | None) -> Path:
    """Of the database that an SQLite URL names: a path, or a URI as SQLite takes it (`file:events.db?mode=rw`).

    As SQLite does, links are followed: beside the file itself it makes what it makes beside it. It need not be there.
    """
    name = database or ""
    return Path(os.path.realpath(unquote(urlsplit(name).path) if name.startswith("file:") else name))


def beside(file: Path) -> list[Path]:
    """Those that SQLite makes beside it, with the file's own permissions."""
    return [file.with_name(file.name + end) for end in ("-wal", "-shm")]


def make_private(_: Any, __: Any, arguments: Any, ___: Any) -> None:
    """Before a connection: a new file is its owner's alone. One that is there stays as it is."""
    database = str(arguments[0])
    query = parse_qs(urlsplit(database).query) if database.startswith("file:") else {}
    if query.get("mode", ["rwc"]) != ["rwc"]:  # nothing is to be made
        return
    with suppress(OSError):  # it is there; or it can't be made, as SQLite will say
        os.close(os.open(file_of(database), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
