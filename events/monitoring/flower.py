"""The public name of `events.flower`, as flowerconfig.py imports it: `from events.monitoring.flower import install`."""

from events.flower import install

__all__ = ["install"]
