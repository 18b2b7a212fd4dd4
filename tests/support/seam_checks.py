"""What the tests of seams say when one fails: which library, of which version, has moved what, and what of ours leans
on that. The names are those of docs/seams.md."""

import inspect
from importlib.metadata import version
from typing import Any


class Library:
    """One that is installed.

    Args:
        release: its version, if it is no distribution of its name.
    """

    def __init__(self, name: str, release: str = "") -> None:
        self.name = name
        self.version = release or version(name)

    def moved(self, what: str, leans: str) -> str:
        return f"{self.name} {self.version} has moved a seam: {what}. On it leans {leans}; see docs/seams.md"

    def has(self, owner: Any, name: str, leans: str) -> Any:
        """What the owner has by this name."""
        called = getattr(owner, "__name__", type(owner).__name__)
        assert hasattr(owner, name), self.moved(f"{called} has no {name!r}", leans)
        return getattr(owner, name)

    def takes(self, owner: Any, name: str, parameters: list[str], leans: str) -> None:
        """The method or function has these parameters, in this order."""
        found = [one for one in inspect.signature(self.has(owner, name, leans)).parameters if one != "self"]
        assert found == parameters, self.moved(f"{name} takes {found}, and not {parameters}", leans)

    def says(self, owner: Any, *texts: str, leans: str) -> None:
        """These texts stand in its source: how it calls what we replace or override."""
        source = " ".join(inspect.getsource(owner).split())
        for text in texts:
            called = getattr(owner, "__qualname__", getattr(owner, "__name__", owner))
            assert text in source, self.moved(f"in {called} there is no {text!r}", leans)

    def keeps(self, holds: object, promise: str, leans: str) -> None:
        assert holds, self.moved(f"it is no longer so that {promise}", leans)
