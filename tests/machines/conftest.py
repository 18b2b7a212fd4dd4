"""Random programs, against every store."""

import os

import pytest

from support.databases import url
from support.exploring import SECONDS

__all__ = ["url"]


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A finding is shown at once: the others may go on for an hour."""
    if report.failed and SECONDS and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.nodeid}\n{report.longreprtext}", flush=True)
