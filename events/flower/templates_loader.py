"""Our templates beside Flower's, and our tabs in its navigation bar."""

import logging
import re
from pathlib import Path

from tornado.template import BaseLoader, Template

OURS = Path(__file__).parent / "templates"
# Flower has no hook for tabs. Its tabs stand in a list; ours follow the last of them, in the same HTML.
AFTER = re.compile(r"(\{\{ reverse_url\('broker'\) \}\}.*?</li>)", re.DOTALL)
TABS = (
    ("events", "ledger_events", "Events"),
    ("letters", "ledger_letters", "Dead letters"),
    ("handlers", "ledger_handlers", "Handlers"),
)

log = logging.getLogger("events.monitoring.flower.loading")


class ChainedLoader(BaseLoader):
    """Loads templates by name: names that begin with `ledger-` are ours, all others are Flower's."""

    def __init__(self, flowers: str) -> None:
        super().__init__()
        self._flowers = Path(flowers)

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:  # noqa: ARG002
        return name

    def _create_template(self, name: str) -> Template:
        folder = OURS if name.startswith("ledger-") else self._flowers
        text = (folder / name).read_text("utf-8")
        return Template(with_tabs(text) if name == "navbar.html" else text, name=name, loader=self)


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
