"""What `install()` does: check Flower's version, add our pages before its own, and our templates to its loader.

flowerconfig.py is run before Flower makes its application of the list `flower.urls.handlers` and the dictionary
`flower.urls.settings`. What of Flower all this leans on is guarded by tests/unit/flower/test_flower_seams.py.
"""

import sys
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

from events.pipeline import get_pipeline

SUPPORTED = SpecifierSet(">=2.2,<3")  # 2.1 lets other sites' forms through; a new major version may move our seams
MARK = "ledger_events"  # the name of a page of ours


def install() -> None:
    """Add the tabs to the Flower of this process. Ends it, with one line, if it isn't a Flower that they fit."""
    if reason := _unfit():
        sys.exit(f"events: {reason}, so flowerconfig.py can't add its tabs to it; or remove install() from there")
    from flower.urls import handlers, settings
    from prometheus_client import REGISTRY

    from events.flower.backend import Backend
    from events.flower.routes import routes
    from events.flower.templates_loader import ChainedLoader
    from events.monitoring import EventsCollector

    if any(getattr(one, "name", None) == MARK for one in handlers):  # installed already
        return
    backend = Backend(get_pipeline)
    handlers[:0] = routes(backend)  # before Flower's own, the last of which takes everything
    settings["template_loader"] = ChainedLoader(settings["template_path"])
    REGISTRY.register(EventsCollector(ledger=backend.under_way))  # for Flower's own /metrics
    backend.begin_counting()


def _unfit() -> str | None:
    try:
        found = version("flower")
    except PackageNotFoundError:
        return "Flower is not installed: pip install 'flower>=2.2,<3'"
    return None if found in SUPPORTED else f"Flower is {found}; install one that is {SUPPORTED}"
