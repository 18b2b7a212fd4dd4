"""Fixtures for all tests."""

import gc

import pytest
from hypothesis import settings

from events.testing import events_pipeline

__all__ = ["events_pipeline"]

settings.register_profile("ours", deadline=None)  # a busy machine is no finding
settings.load_profile("ours")


_LONGEST_FIRST = ("machines", "acceptance", "faults", "conformance", "integration", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that at the end nobody is left alone with it."""
    ranks = {name: rank for rank, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: min((ranks[part] for part in item.path.parts if part in ranks), default=0))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What all tests have in common is not looked through again and again."""
    gc.collect()
    gc.freeze()
