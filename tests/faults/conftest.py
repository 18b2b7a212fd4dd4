"""Fixtures of the fault tests."""

from collections.abc import Iterator

import pytest
from _chaos.machines import Machine

from support.servers import own_server


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A broker of this test's own, that it may restart and wipe."""
    with own_server(request.param) as machine:
        yield machine
