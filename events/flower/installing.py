"""`install()` checks Flower's version, adds our pages before Flower's own, and our templates to its loader.

Flower runs flowerconfig.py before it makes its application of the list `flower.urls.handlers` and the dictionary
`flower.urls.settings`. tests/unit/flower/test_flower_seams.py guards every part of Flower that our pages need.
"""

import sys
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

from events.current_pipeline import get_pipeline

INSTALL = "pip install 'flower>=2.2,<3'"
SUPPORTED = SpecifierSet(">=2.2,<3")  # 2.1 accepts forms of other sites; a new major version may move our seams
MARK = "ledger_events"  # the name of one of our pages: it is there if install() ran before


def install() -> None:
    """Add the tabs to the Flower of this process. Ends the process, with one line, if this Flower isn't supported."""
    if reason := _unfit():
        sys.exit(f"events: flowerconfig.py can't add the tabs: {reason}; {INSTALL}, or remove install() from the file")
    from flower.urls import handlers, settings
    from prometheus_client import REGISTRY

    from events.flower.backend import Backend
    from events.flower.routes import routes
    from events.flower.templates_loader import ChainedLoader
    from events.monitoring import EventsCollector

    if any(getattr(route, "name", None) == MARK for route in handlers):  # installed already
        return
    backend = Backend(get_pipeline)
    handlers[:0] = routes(backend)  # before Flower's routes, the last of which takes every address
    settings["template_loader"] = ChainedLoader(settings["template_path"])
    REGISTRY.register(EventsCollector(ledger=backend.under_way))  # for Flower's own /metrics
    backend.begin_counting()


def _unfit() -> str | None:
    try:
        installed = version("flower")
    except PackageNotFoundError:
        return "Flower is not installed"
    return None if installed in SUPPORTED else f"Flower {installed} is not supported"
