"""A pipe to oneself, which ends a wait for files from another thread.

The number of a closed file is given to the next one that is opened, be it the database's file or the connection to a
server, and a byte written there would spoil it. So a pipe that is closed does nothing more, whoever still holds it; nor
does the copy of a forked child, where somebody may have closed it.
"""

import os
import threading
from contextlib import suppress

_MOST = 65536  # bytes: the room of a pipe


class SelfPipe:
    """Wakes a thread that waits for `reader`. One thread waits, reads and closes; any may wake it."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)  # numbers of files
        self._owner = os.getpid()
        self._lock = threading.RLock()  # a signal handler may wake while this thread does
        self._closed = False

    def wake(self) -> None:
        """Make `reader` readable; nothing once it is closed. May be called from any thread, and by signal handlers."""
        if os.getpid() == self._owner:  # asked first: in a child nobody may be left to release the lock
            with self._lock, suppress(BlockingIOError):  # a full pipe wakes its reader anyway
                if not self._closed:
                    os.write(self._writer, b"!")

    def clear(self) -> None:
        """Forget that it was woken."""
        if os.getpid() == self._owner:
            with self._lock, suppress(BlockingIOError):
                if not self._closed:
                    os.read(self.reader, _MOST)

    def close(self) -> None:
        """Let go of its two files. May be called again."""
        if os.getpid() == self._owner:
            with self._lock:
                if not self._closed:
                    self._closed = True
                    os.close(self.reader)
                    os.close(self._writer)
