"""Pictures of the flow of events: event, handler, event, from left to right, as SVG within the page.

Boxes that are connected are one picture, and the page puts pictures side by side: three events look as good as sixty.
"""

from html import escape

from events.contract.catalog import Catalog, CatalogEvent
from events.contract.layout import HEIGHT, Box, Picture, cut, lines, place


def pictures(catalog: Catalog, hrefs: dict[str, str]) -> list[Picture]:
    """The pictures, the largest first. Events without any connection are in no picture.

    Args:
        hrefs: the anchor of each event on the page, by its name.
    """
    whole = Picture()
    for event in catalog.events:
        kind = "public" if event.public else "event" if event.loaded else "foreign"
        whole.boxes[f"e:{event.name}"] = Box(f"e:{event.name}", event.name, kind, hrefs.get(event.name, ""))
    for handler in catalog.handlers:
        if handler.kind == "bridge":
            continue
        key = f"h:{handler.name}"
        whole.boxes[key] = Box(key, handler.name, handler.kind)
        for name in handler.events:
            whole.arrows[f"e:{name}", key] = False
        for name in handler.publishes:
            whole.arrows[key, f"e:{name}"] = False
    for event in catalog.events:
        for bridge in event.forwarded_to:  # a box for each event, or the bridge would connect all events
            key = f"b:{bridge}:{event.name}"
            whole.boxes[key] = Box(key, bridge, "bridge")
            whole.arrows[f"e:{event.name}", key] = False
        for cause in event.caused_by:
            _infer(whole, catalog, event, cause)
    return _apart(whole)


def _infer(whole: Picture, catalog: Catalog, event: CatalogEvent, cause: str) -> None:
    """Add the arrow of a cause. The ledger knows the event that caused an event, but not the handler."""
    takers = [handler for handler in catalog.handlers if cause in handler.events and handler.kind != "bridge"]
    if any(event.name in handler.publishes for handler in takers):
        return
    others = [handler for handler in takers if handler.kind == "handler"]
    source = f"h:{others[0].name}" if len(others) == 1 else f"e:{cause}"
    if source != f"e:{event.name}":
        whole.arrows.setdefault((source, f"e:{event.name}"), True)


def _apart(whole: Picture) -> list[Picture]:
    """The connected parts of a picture, the largest first; boxes without an arrow are left out."""
    near: dict[str, set[str]] = {key: set() for key in whole.boxes}
    for source, target in whole.arrows:
        near[source].add(target)
        near[target].add(source)
    parts: list[Picture] = []
    seen: set[str] = set()
    for start in whole.boxes:
        if start in seen or not near[start]:
            continue
        members, waiting = {start}, [start]
        while waiting:
            new = near[waiting.pop()] - members
            members |= new
            waiting += new
        seen |= members
        boxes = {key: box for key, box in whole.boxes.items() if key in members}
        arrows = {arrow: inferred for arrow, inferred in whole.arrows.items() if arrow[0] in members}
        parts.append(Picture(boxes, arrows))
    return sorted(parts, key=lambda part: -len(part.boxes))


def as_svg(picture: Picture) -> str:
    """One picture; the page gives the colours."""
    drawing = lines(picture)
    width, height = place(drawing)
    labels = escape(", ".join(box.label for box in picture.boxes.values()))
    return (
        f'<svg class="graph" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{labels}">'
        + "".join(_curve(path, inferred, backwards) for path, inferred, backwards in drawing.paths)
        + "".join(_drawn(box) for box in picture.boxes.values())
        + "</svg>"
    )


def _curve(path: list[Box], inferred: bool, backwards: bool) -> str:
    points: list[tuple[float, float]] = []
    for box in path:
        points += [(box.x, box.y), (box.x + box.width, box.y)]
    points = points[1:-1]
    if backwards:
        points.reverse()
    x, y = points[0]
    drawn = [f"M{x:.1f} {y:.1f}"]
    for index, (to_x, to_y) in enumerate(points[1:]):
        if index % 2:  # past a column
            drawn.append(f"L{to_x:.1f} {to_y:.1f}")
        else:
            half = (to_x - x) / 2
            drawn.append(f"C{x + half:.1f} {y:.1f} {to_x - half:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return f'<path class="{"arrow inferred" if inferred else "arrow"}" marker-end="url(#head)" d="{"".join(drawn)}"/>'


def _drawn(box: Box) -> str:
    text = (
        f"<title>{escape(box.label)}</title>"
        f'<rect x="{box.x:.1f}" y="{box.y - HEIGHT / 2:.1f}" width="{box.width:.1f}" height="{HEIGHT:.0f}" '
        f'rx="{14 if box.kind in ("handler", "translator") else 4}"/>'
        f'<text x="{box.x + box.width / 2:.1f}" y="{box.y + 4:.1f}">{escape(cut(box.label))}</text>'
    )
    if box.href:
        return f'<a class="box {box.kind}" href="#{escape(box.href)}">{text}</a>'
    return f'<g class="box {box.kind}">{text}</g>'
