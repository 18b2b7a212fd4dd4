"""Fixtures for all tests."""

import gc

import pytest
from hypothesis import settings

from events.testing import events_pipeline

__all__ = ["events_pipeline"]

settings.register_profile("ours", deadline=None)  # a busy machine is no finding
settings.load_profile("ours")


def pytest_collection_finish(session: pytest.Session) -> None:
    """What all tests have in common is not looked through again and again."""
    gc.collect()
    gc.freeze()
