"""The catalog as one web page, which needs no server, no other file and no network."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from events.contract.catalog import Catalog, CatalogEvent, CatalogHandler, EventField
from events.contract.graph import as_svg, pictures
from events.contract.layout import Picture
from events.text import plural

_HERE = Path(__file__).parent
# The page may load nothing from anywhere, even if a name got past the escaping.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_HEAD = (
    '<svg class="defs" aria-hidden="true"><defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs></svg>'
)
_LEGEND = {
    "event": "event",
    "public": "public event",
    "handler": "handler",
    "translator": "translator",
    "bridge": "bridge",
}


def as_page(catalog: Catalog, title: str = "Events") -> str:
    """The whole HTML document."""
    hrefs = {event.name: f"event-{number}" for number, event in enumerate(catalog.events, 1)}
    public = sum(event.public for event in catalog.events)
    note = (
        f"The ledger could not be asked: {catalog.unknown}. This page doesn't know which other services have handlers, "
        f"and which handlers publish."
    )
    drawn = [_picture(picture) for picture in pictures(catalog, hrefs)]
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        f"<title>{escape(title)}</title><style>\n{(_HERE / 'page.css').read_text('utf-8')}</style></head><body>{_HEAD}"
        f'<header><h1>{escape(title)}</h1><p class="faint">{plural(len(catalog.events), "event")}, {public:,} of them '
        f"public, {plural(len(catalog.handlers), 'handler')}</p>"
        f"{_text(note, 'note') if catalog.unknown else ''}"
        '<input type="search" placeholder="Search events, fields, handlers" aria-label="Search"></header><main>'
        + _section("How events flow", drawn, "pictures", _legend())
        + _section("Events", [_event(event, hrefs) for event in catalog.events], "cards")
        + _section("Handlers", [_handler(handler, hrefs) for handler in catalog.handlers], "cards")
        + f"</main><script>\n{(_HERE / 'page.js').read_text('utf-8')}</script></body></html>\n"
    )


def _section(title: str, parts: Sequence[str], kind: str, before: str = "") -> str:
    if not parts:
        return ""
    return f'<section><h2>{title}</h2>{before}<div class="{kind}">{"".join(parts)}</div></section>'


def _legend() -> str:
    kinds = "".join(f'<span><i class="{kind}"></i>{text}</span>' for kind, text in _LEGEND.items())
    return f'<div class="legend">{kinds}<span>- - - as seen in the ledger</span></div>'


def _picture(picture: Picture) -> str:
    return f'<div class="picture"{_searched(box.label for box in picture.boxes.values())}>{as_svg(picture)}</div>'


def _event(event: CatalogEvent, hrefs: dict[str, str]) -> str:
    badges = [_badge("public", "public") if event.public else _badge("private") if event.loaded else ""]
    badges += [_badge(f"version {event.version}")] if event.loaded else [_badge("known to the ledger alone")]
    badges += [_badge(f"masked: {', '.join(event.masked)}", "masked")] if event.masked else []
    publishers = [f"translator {name}" for name in event.translators]
    publishers += [f"a handler of {cause}" for cause in event.caused_by]
    facts = {
        "published by": escape(", ".join(publishers)) or '<span class="faint">not known</span>',
        "handled by": escape(", ".join(event.handlers)) or '<span class="faint">none known</span>',
        "forwarded to": escape(", ".join(event.forwarded_to)),
        "aggregate": escape(event.aggregate),
        "defined in": escape(event.module),
    }
    words = [event.name, event.about, event.module, *event.handlers, *publishers, *event.forwarded_to]
    words += [field.name for field in event.fields]
    return (
        f'<article class="card" id="{hrefs[event.name]}"{_searched(words)}><h3>{escape(event.name)}</h3>'
        f'<div class="badges">{"".join(badges)}</div>{_text(event.about)}{_fields(event.fields)}{_facts(facts)}'
        "</article>"
    )


def _fields(fields: Sequence[EventField]) -> str:
    if not fields:
        return ""
    rows = "".join(
        f"<tr><td>{escape(field.name)}</td><td><code>{escape(field.type)}</code></td>"
        f"<td>{'' if field.required else 'optional'}{' masked' if field.name in field.masked else ''}</td>"
        f"<td>{escape(field.about)}</td></tr>"
        for field in fields
    )
    head = "<tr><th>field</th><th>type</th><th></th><th></th></tr>"
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def _handler(handler: CatalogHandler, hrefs: dict[str, str]) -> str:
    badges = [_badge(handler.kind)]
    badges += [] if handler.loaded else [_badge("of another service")]
    badges += [_badge("not subscribed")] if handler.subscribed is False else []
    facts = {
        "takes": _links(handler.events, hrefs),
        "publishes": _links(handler.publishes, hrefs),
        "queue": escape(handler.queue),
    }
    return (
        f'<article class="card"{_searched([handler.name, handler.about, *handler.events, *handler.publishes])}>'
        f'<h3>{escape(handler.name)}</h3><div class="badges">{"".join(badges)}</div>'
        f"{_text(handler.about)}{_facts(facts)}</article>"
    )


def _links(names: Iterable[str], hrefs: dict[str, str]) -> str:
    return ", ".join(f'<a href="#{hrefs[name]}">{escape(name)}</a>' for name in names)


def _facts(facts: dict[str, str]) -> str:
    """A list of facts. Values are HTML; facts with an empty value are left out."""
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts.items() if value)}</dl>"


def _badge(text: str, kind: str = "") -> str:
    return f'<span class="badge {kind}">{escape(text)}</span>'


def _text(text: str, kind: str = "about") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if text else ""


def _searched(words: Iterable[str]) -> str:
    return f' data-text="{escape(" ".join(words).lower())}"'
