"""The chart: deliveries a second, as bars, by where the work waits. An SVG, for light and dark pages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from rigs.bench.figures import Result

WIDTH, LABEL, VALUE = 720, 190, 90  # pixels: of it all, and of what stands before and after a bar
EDGE, BAR, GAP, HEAD, TOP, BOTTOM = 16, 20, 6, 34, 72, 14
TITLE = "Deliveries a second, one row each"
SUBTITLE = "A backlog worked off: each delivery writes one row into the same Postgres; longer is better"
OURS = "celery-domain-events"
# A page of its own: an image follows the system's theme, which need not be that of the site around it.
STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
    .page { fill: #ffffff; stroke: #d1d9e0; }
    .title { font-size: 16px; font-weight: 600; }
    .note { font-size: 12px; fill: #59636e; }
    .group { font-weight: 600; }
    .value { font-variant-numeric: tabular-nums; }
    .ours { fill: #1a7f37; }
    .other { fill: #8c959f; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; stroke: #3d444d; }
      text { fill: #e6edf3; }
      .note { fill: #9198a1; }
      .ours { fill: #3fb950; }
      .other { fill: #656d76; }
    }
"""


@dataclass(frozen=True)
class Bar:
    name: str
    value: float


def drawn(results: Sequence[Result]) -> str:
    """The SVG; without any bar it says so."""
    groups = bars(results)
    most = max((bar.value for found in groups.values() for bar in found), default=1.0)
    body, y = [], TOP
    for group, found in groups.items():
        y += HEAD
        body.append(_text(EDGE, y - 12, group, "group"))
        for bar in found:
            body += _bar(bar, y, most)
            y += BAR + GAP
    if not groups:
        y += HEAD
        body.append(_text(EDGE, y - 12, "Nothing of it was measured.", "note"))
    height = y + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title">',
        f'<title id="title">{escape(TITLE)}</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        _text(EDGE, 32, TITLE, "title"),
        _text(EDGE, 54, SUBTITLE, "note"),
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def bars(results: Sequence[Result]) -> dict[str, list[Bar]]:
    """By group: ours first, as it was measured with the first baseline, then the baselines, the fastest first."""
    groups: dict[str, list[Bar]] = {}
    for result in sorted(results, key=lambda result: result.place):
        if not result.chart or result.ours is None:
            continue
        found = groups.setdefault(result.chart, [Bar(OURS, result.ours)])
        if result.baseline is not None:
            found.append(Bar(result.against, result.baseline))
    return {
        group: [found[0], *sorted(found[1:], key=lambda bar: bar.value, reverse=True)]
        for group, found in groups.items()
    }


def _bar(bar: Bar, y: int, most: float) -> Iterator[str]:
    length = max(1.0, (WIDTH - LABEL - VALUE) * bar.value / most)
    kind = "ours" if bar.name == OURS else "other"
    yield _text(LABEL - 10, y + BAR - 6, bar.name, anchor="end")
    yield f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3"/>'
    yield _text(LABEL + length + 8, y + BAR - 6, f"{bar.value:,.0f}", "value")


def _text(x: float, y: int, words: str, kind: str = "", anchor: str = "") -> str:
    more = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:g}" y="{y}"{more}>{escape(words)}</text>'
