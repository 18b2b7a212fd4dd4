"""Fixtures of the fault tests."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from _chaos.machines import Machine


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A broker of this test's own, that it may restart and wipe."""
    folder = Path(tempfile.mkdtemp(prefix="broker-"))
    folder.chmod(0o755)  # the server runs as another user
    machine = Machine(request.param, folder)
    try:
        machine.start()
        yield machine
    finally:
        machine.end()
        shutil.rmtree(folder, ignore_errors=True)
