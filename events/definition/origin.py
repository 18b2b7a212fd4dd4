"""The origin of an event or a handler: which run of which module defines it. So a reload, which replaces a definition,
is told from a second definition of the same name.

A module that is run again (importlib.reload, a test runner that imports it anew, a script that is imported by its name
as well) defines again what it defined before. A loop, a factory function, two instances or a decorator without
functools.wraps define two things at one place of the source within one run; only the run tells those apart.
"""

import logging
import os
import sys
import weakref
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from events.errors import DefinitionError

log = logging.getLogger("events")

_FUNCTION = 0x1 | 0x2  # CO_OPTIMIZED, CO_NEWLOCALS: flags of functions, which modules and classes lack
_SCRIPTS = ("__main__", "__mp_main__")


@dataclass(frozen=True, slots=True)
class Origin:
    """One run of a module.

    Attributes:
        module: its name while it ran.
        file: its source file.
        code: its compiled body, which a reload makes anew; None if only functions were running.
        space: the module's own names.
        test: the pytest test that ran: each test may define the same names anew.
    """

    module: str
    file: str
    code: "weakref.ref[CodeType] | None"
    space: dict[str, Any] | None = field(repr=False)
    test: str = ""

    def is_again(self, earlier: "Origin") -> bool:
        """Whether this is the same module, run again. Text without a file is a module of its own in each namespace."""
        if self.body() is earlier.body() and self.space is earlier.space and self.test == earlier.test:
            return False
        if self.is_interactive(earlier):
            return True
        return self.file == earlier.file and (not self.file.startswith("<") or self.test != earlier.test)

    def body(self) -> CodeType | None:
        """Its compiled body, as long as that is alive."""
        return self.code() if self.code is not None else None

    def is_interactive(self, earlier: "Origin") -> bool:
        """Whether it is a notebook or a shell: each cell is a source of its own, and a later definition replaces."""
        return self.space is not None and self.space is earlier.space and "__file__" not in self.space


def here() -> Origin:
    """The origin of a definition that runs now: the module whose body is running, as seen from the caller."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_flags & _FUNCTION and frame.f_locals is frame.f_globals:
            space = frame.f_globals
            return Origin(str(space.get("__name__")), _real(frame.f_code), weakref.ref(frame.f_code), space, _test())
        frame = frame.f_back
    return Origin("", "", None, None, _test())


def replaces(new: Origin, old: Origin, what: str) -> bool:
    """Whether a definition takes the place of an earlier one of the same name; if not, there are two.

    Raises:
        DefinitionError: it is the same file, imported under two names, so that everything in it is there twice.
    """
    if not new.is_again(old):
        return False
    if new.module != old.module and not {new.module, old.module} & {*_SCRIPTS}:
        now, before = (sys.modules.get(one.module) for one in (new, old))
        # Else: a module that was taken out of sys.modules is imported anew; one that was never there is a copy.
        if now is None or (before is not None and before is not now):
            raise DefinitionError(
                f"{new.file} is imported under two names, {old.module} and {new.module}, so that {what} is there "
                f"twice; import it by one name, in EVENTS_HANDLERS too"
            )
    if new.is_interactive(old):
        log.warning("%s is defined anew, and replaces the one of an earlier cell", what)
    return True


def _test() -> str:
    """Without the phase, which is one word at the end."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]


def _real(code: CodeType) -> str:
    name = code.co_filename
    return name if name.startswith("<") else os.path.realpath(name)
