"""A standby of a PostgreSQL server."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rigs.chaos.machines import Machine


class Standby(Machine):
    """Follows `primary`, and tells it every second what its own transactions still read."""

    def __init__(self, primary: Machine, folder: Path) -> None:
        super().__init__("postgres", folder)
        copy = f"pg_basebackup -D data -h 127.0.0.1 -p {primary.port} -U postgres -R -c fast --no-sync"
        feedback = "-c hot_standby_feedback=on -c wal_receiver_status_interval=1"
        script = self._server.script.replace("exec postgres", f"exec postgres {feedback}")
        self._server = replace(self._server, script=f"[ -d data ] || {copy}\n{script}")


@contextmanager
def standby_of(primary: Machine) -> Iterator[Standby]:
    """Gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="standby-"))
    folder.chmod(0o755)  # the server runs as another user
    standby = Standby(primary, folder)
    try:
        standby.start()
        yield standby
    finally:
        standby.end()
        shutil.rmtree(folder, ignore_errors=True)
