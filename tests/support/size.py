"""How big a fault test is: small in every run, as big as the promise says with EVENTS_TEST_FULL=1."""

import os
from typing import Any, TypeVar

import pytest

Size = TypeVar("Size")

FULL = os.environ.get("EVENTS_TEST_FULL") == "1"


def sized(small: Size, full: Size) -> Size:
    """`small` in everyday runs, `full` when the numbers of the promise themselves are to be tried."""
    return full if FULL else small


def alike(*values: object) -> Any:
    """A case of a test that differs little from one that runs every day: it runs with EVENTS_TEST_FULL=1 alone."""
    return pytest.param(
        *values, marks=pytest.mark.skipif(not FULL, reason="EVENTS_TEST_FULL=1 runs what is alike, too")
    )
