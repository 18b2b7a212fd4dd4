"""The file of an SQLite ledger: where it is, and who may read it."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_making = threading.Lock()


def file_of(database: str | None) -> Path:
    """The file of an SQLite URL, which has a path, or a URI as SQLite takes it (`file:events.db?mode=rw`).

    Links are followed, as SQLite does: its journals lie beside the file itself. The file need not exist.
    """
    name = database or ""
    return Path(os.path.realpath(unquote(urlsplit(name).path) if name.startswith("file:") else name))


def beside(file: Path) -> list[Path]:
    """The files that SQLite makes beside the database, with its permissions."""
    return [file.with_name(file.name + end) for end in ("-wal", "-shm")]


def make_private(_: Any, __: Any, arguments: Any, ___: Any) -> None:
    """Before a connection: make a new file readable for its owner alone. An existing file stays as it is."""
    database = str(arguments[0])
    query = parse_qs(urlsplit(database).query) if database.startswith("file:") else {}
    if query.get("mode", ["rwc"]) != ["rwc"]:  # SQLite is to make no file
        return
    # A file that is closed takes all locks of its process along, also those of SQLite. So nobody here may connect to it
    # while it is open by this number.
    with _making, suppress(OSError):  # it exists, or can't be made, as SQLite will say
        os.close(os.open(file_of(database), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
