"""Our templates beside Flower's, and our tabs in its navigation bar."""

import logging
import re
from pathlib import Path

from tornado.template import DictLoader

OURS = Path(__file__).parent / "templates"
# Flower has no hook for tabs. Its own stand in a list; ours follow the last of them, and are written as they are.
AFTER = re.compile(r"(\{\{ reverse_url\('broker'\) \}\}.*?</li>)", re.DOTALL)
TABS = (("events", "ledger_events", "Events"), ("letters", "ledger_letters", "Dead letters"),
        ("handlers", "ledger_handlers", "Handlers"))  # fmt: skip

log = logging.getLogger("events.monitoring.flower.loading")


class ChainedLoader(DictLoader):
    """Names are flat: ours begin with `ledger-`, all others are Flower's."""

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
    """Flower's navigation bar with our tabs; as it is, with a warning, if it looks like none that we know."""
    changed, count = AFTER.subn(lambda found: found[1] + "".join(_tab(*tab) for tab in TABS), navbar, count=1)
    if not count:
        log.warning("events: this Flower's navigation bar has no place for our tabs; the pages are at /events, "
                    "/dead-letters and /event-handlers all the same")  # fmt: skip
    return changed


def _tab(name: str, route: str, title: str) -> str:
    return f"""
        <li class="nav-item">
          <a class="nav-link{{% if active_tab == '{name}' %}} active{{% end %}}"
            href="{{{{ reverse_url('{route}') }}}}"
            {{% if active_tab == '{name}' %}}aria-current="page"{{% end %}}>{title}</a>
        </li>"""
