"""Our templates beside Flower's, and our tabs in its navigation bar."""

import logging
import re
from pathlib import Path

from tornado.template import DictLoader

OURS = Path(__file__).parent / "templates"
# Flower has no hook for tabs. Its tabs stand in a list; ours follow the last of them, in the same HTML.
AFTER = re.compile(r"(\{\{ reverse_url\('broker'\) \}\}.*?</li>)", re.DOTALL)
TABS = (
    ("events", "ledger_events", "Events"),
    ("letters", "ledger_letters", "Dead letters"),
    ("handlers", "ledger_handlers", "Handlers"),
)

log = logging.getLogger("events.monitoring.flower.loading")


class ChainedLoader(DictLoader):
    """Loads templates by name: names that begin with `ledger-` are ours, all others are Flower's."""

    def __init__(self, flowers: str) -> None:
        super().__init__(_Texts(Path(flowers)))


class _Texts(dict[str, str]):
    """Templates by name, each read when it is asked for."""

    def __init__(self, flowers: Path) -> None:
        super().__init__()
        self._flowers = flowers

    def __missing__(self, name: str) -> str:
        folder = OURS if name.startswith("ledger-") else self._flowers
        text = (folder / name).read_text("utf-8")
        return with_tabs(text) if name == "navbar.html" else text


def with_tabs(navbar: str) -> str:
    """Flower's navigation bar with our tabs; unchanged, with a warning, if it isn't the bar that we know."""
    ours = "".join(_tab(*tab) for tab in TABS)
    changed, count = AFTER.subn(lambda last_tab: last_tab[1] + ours, navbar, count=1)
    if not count:
        log.warning(
            "events: can't add our tabs to the navigation bar of this Flower; open the pages at /events, "
            "/dead-letters and /event-handlers"
        )
    return changed


def _tab(name: str, route: str, title: str) -> str:
    return f"""
        <li class="nav-item">
          <a class="nav-link{{% if active_tab == '{name}' %}} active{{% end %}}"
            href="{{{{ reverse_url('{route}') }}}}"
            {{% if active_tab == '{name}' %}}aria-current="page"{{% end %}}>{title}</a>
        </li>"""
