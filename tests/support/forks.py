"""Children that are forked for one piece of work."""

import os
import signal
import traceback
from collections.abc import Callable

from support.waiting import eventually


def fork(work: Callable[[], object]) -> int:
    """Its process id. The child ends after the work: with 0, or with 1 if that raised an error."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)  # this is not the process of the tests
    return child


def exit_code_of(child: int) -> int:
    """Wait for its end. One that hangs is killed, and that is a failure."""

    def end() -> tuple[int, int] | None:
        ended = os.waitpid(child, os.WNOHANG)
        return ended if ended[0] else None

    try:
        return os.waitstatus_to_exitcode(eventually(end, "the child has ended")[1])
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
