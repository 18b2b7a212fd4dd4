"""Fixtures for all tests."""

from events.testing import events_pipeline

__all__ = ["events_pipeline"]
