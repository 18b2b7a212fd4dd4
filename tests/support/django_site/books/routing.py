"""Which models are in which database."""

from typing import Any


class Router:
    """Branches are in the other database; everything else may be in any."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "other" if model.__name__ == "Branch" else None

    db_for_write = db_for_read
