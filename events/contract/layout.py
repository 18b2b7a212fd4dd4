"""Places for the boxes of a picture: a small version of the usual layout of layered graphs.

Each step has a column, and in each column neighbours stand near each other. A line that passes a column has a place in
it, so that no line crosses a box.
"""

from dataclasses import dataclass, field
from itertools import pairwise

HEIGHT = 28.0  # of a box, in pixels
_LETTER, _PADDING = 7.3, 11.0  # width of a letter, and space beside a label, in pixels
_GAP, _BETWEEN, _MARGIN = 12.0, 56.0, 6.0  # between boxes, between columns, around the picture, in pixels
_LONGEST = 36  # letters of a label
_SWEEPS = 6  # rounds in which columns are sorted and boxes are moved


@dataclass(slots=True)
class Box:
    """A box; or, if its kind is "", the place where a line passes a column."""

    key: str
    label: str = ""
    kind: str = ""
    href: str = ""
    column: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0


@dataclass(slots=True)
class Picture:
    """Connected boxes, and the arrows between them. An arrow's value: whether the arrow is only inferred."""

    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: dict[tuple[str, str], bool] = field(default_factory=dict)


@dataclass(slots=True)
class Lines:
    """The places of boxes and lines.

    Attributes:
        near: the neighbours of each box, by its key.
        paths: for each arrow its places, whether it is inferred, and whether it goes from right to left.
    """

    columns: list[list[Box]]
    near: dict[str, list[Box]]
    paths: list[tuple[list[Box], bool, bool]]


def lines(picture: Picture) -> Lines:
    """Columns for all boxes, and for each arrow the boxes and places that it goes through, from left to right."""
    backwards = _back(picture)
    # Two boxes that lead to each other share their place; each arrow is drawn from where it begins.
    ahead = {arrow: arrow[::-1] if arrow in backwards else arrow for arrow in picture.arrows}
    _rank(picture, list(ahead.values()))
    columns: list[list[Box]] = [[] for _ in range(max(box.column for box in picture.boxes.values()) + 1)]
    for box in picture.boxes.values():
        box.width = len(cut(box.label)) * _LETTER + 2 * _PADDING
        columns[box.column].append(box)
    near: dict[str, list[Box]] = {}
    paths = []
    for arrow, (left, right) in ahead.items():
        first, last = picture.boxes[left], picture.boxes[right]
        path = [first]
        for column in range(first.column + 1, last.column):
            place = Box(f"{arrow}@{column}", column=column)
            columns[column].append(place)
            path.append(place)
        path.append(last)
        for before, after in pairwise(path):
            near.setdefault(before.key, []).append(after)
            near.setdefault(after.key, []).append(before)
        paths.append((path, picture.arrows[arrow], arrow in backwards))
    return Lines(columns, near, paths)


def _back(picture: Picture) -> set[tuple[str, str]]:
    """The arrows that close a circle: they are drawn from right to left."""
    ahead: dict[str, list[str]] = {}
    entered: dict[str, int] = dict.fromkeys(picture.boxes, 0)
    for source, target in picture.arrows:
        ahead.setdefault(source, []).append(target)
        entered[target] += 1
    back: set[tuple[str, str]] = set()
    state: dict[str, str] = {}

    def visit(start: str) -> None:
        stack = [(start, iter(ahead.get(start, ())))]
        state[start] = "open"
        while stack:
            key, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[key] = "done"
                stack.pop()
            elif state.get(following) == "open":
                back.add((key, following))
            elif following not in state:
                state[following] = "open"
                stack.append((following, iter(ahead.get(following, ()))))

    for key in sorted(picture.boxes, key=lambda box: (entered[box], box)):  # beginnings first
        if key not in state:
            visit(key)
    return back


def _rank(picture: Picture, pairs: list[tuple[str, str]]) -> None:
    """Put each box one column to the right of the last box that leads to it."""
    for _ in picture.boxes:  # no circle is left, so this many rounds are enough
        moved = False
        for left, right in pairs:
            least = picture.boxes[left].column + 1
            if picture.boxes[right].column < least:
                picture.boxes[right].column, moved = least, True
        if not moved:
            return


def place(drawing: Lines) -> tuple[float, float]:
    """Give every box and line its place. Returns the width and height of the picture."""
    columns, near = drawing.columns, drawing.near
    for column in columns:
        column.sort(key=lambda box: box.label)
    _stack(columns)
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            column.sort(key=lambda box: _wished(box, near))
            _stack(columns)
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            _settle(column, [_wished(box, near) for box in column])
    top = min(box.y for column in columns for box in column) - HEIGHT / 2 - _MARGIN
    for column in columns:
        for box in column:
            box.y -= top
    x = _MARGIN
    for column in columns:
        width = max(box.width for box in column)
        for box in column:
            box.x = x
            if not box.kind:
                box.width = width
        x += width + _BETWEEN
    bottom = max(box.y + HEIGHT / 2 for column in columns for box in column)
    return x - _BETWEEN + _MARGIN, bottom + _MARGIN


def _stack(columns: list[list[Box]]) -> None:
    """Stack the boxes of each column, and align the middles of the columns."""
    heights = [sum(_step(box) for box in column) for column in columns]
    for column, height in zip(columns, heights, strict=True):
        y = _MARGIN + (max(heights) - height) / 2
        for box in column:
            box.y = y + _step(box) / 2
            y += _step(box)


def _wished(box: Box, near: dict[str, list[Box]]) -> float:
    """The height at which a box would like to stand: in the middle of its neighbours."""
    return sum(neighbour.y for neighbour in near[box.key]) / len(near[box.key])


def _settle(column: list[Box], wished: list[float]) -> None:
    """Move each box as near to its wished height as the other boxes allow: order and distances stay."""
    offsets, offset = [], 0.0
    for box in column:
        offsets.append(offset + _step(box) / 2)
        offset += _step(box)
    blocks: list[tuple[float, int]] = []  # boxes that touch each other: the mean of their wishes, and their number
    for wish, own in zip(wished, offsets, strict=True):
        mean, count = wish - own, 1
        while blocks and blocks[-1][0] > mean:
            above, others = blocks.pop()
            mean, count = (mean * count + above * others) / (count + others), count + others
        blocks.append((mean, count))
    shifts = (mean for mean, count in blocks for _ in range(count))
    for box, own, shift in zip(column, offsets, shifts, strict=True):
        box.y = own + shift


def _step(box: Box) -> float:
    return HEIGHT + _GAP if box.kind else HEIGHT / 2


def cut(label: str) -> str:
    """The label, cut if it is too long."""
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
