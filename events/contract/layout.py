"""Places for the boxes of a picture, as others find them for layered graphs, in small.

A column for each step, and in each column an order in which neighbours are near each other. Lines that pass a column
have a place in it, so that they cross no box.
"""

from dataclasses import dataclass, field
from itertools import pairwise

HEIGHT = 28.0  # of a box, in pixels
_LETTER, _PADDING = 7.3, 11.0  # of its text
_GAP, _BETWEEN, _MARGIN = 12.0, 56.0, 6.0
_LONGEST = 36  # letters of a label
_SWEEPS = 6


@dataclass(slots=True)
class Box:
    """What is drawn, or (kind "") the place where a line passes a column."""

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
    """What hangs together: boxes, and arrows between them; of each whether it is only inferred."""

    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: dict[tuple[str, str], bool] = field(default_factory=dict)


@dataclass(slots=True)
class Lines:
    """Where everything goes. `paths`: of each arrow, with whether it is inferred, and goes from right to left."""

    columns: list[list[Box]]
    near: dict[str, list[Box]]
    paths: list[tuple[list[Box], bool, bool]]


def lines(picture: Picture) -> Lines:
    """Columns for all boxes, and for each arrow the boxes and places that it goes through, from left to right."""
    backwards = _back(picture)
    # Two boxes that lead to each other share their place; each arrow is drawn from where it begins.
    ahead = [((target, source) if (source, target) in backwards else (source, target), (source, target))
             for source, target in picture.arrows]  # fmt: skip
    _rank(picture, [pair for pair, _ in ahead])
    columns: list[list[Box]] = [[] for _ in range(max(box.column for box in picture.boxes.values()) + 1)]
    for box in picture.boxes.values():
        box.width = len(cut(box.label)) * _LETTER + 2 * _PADDING
        columns[box.column].append(box)
    near: dict[str, list[Box]] = {}
    paths = []
    for (left, right), arrow in ahead:
        first, last = picture.boxes[left], picture.boxes[right]
        path = [first]
        for column in range(first.column + 1, last.column):
            place = Box(f"{arrow}@{column}", column=column)
            columns[column].append(place)
            path.append(place)
        path.append(last)
        for one, other in pairwise(path):
            near.setdefault(one.key, []).append(other)
            near.setdefault(other.key, []).append(one)
        paths.append((path, picture.arrows[arrow], arrow in backwards))
    return Lines(columns, near, paths)


def _back(picture: Picture) -> set[tuple[str, str]]:
    """Arrows that close a circle: they are drawn from right to left."""
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

    for key in sorted(picture.boxes, key=lambda one: (entered[one], one)):  # beginnings first
        if key not in state:
            visit(key)
    return back


def _rank(picture: Picture, pairs: list[tuple[str, str]]) -> None:
    """Each box one column to the right of the last that leads to it."""
    for _ in picture.boxes:  # no circle is left, so this many rounds are enough
        moved = False
        for left, right in pairs:
            least = picture.boxes[left].column + 1
            if picture.boxes[right].column < least:
                picture.boxes[right].column, moved = least, True
        if not moved:
            return


def place(found: Lines) -> tuple[float, float]:
    """Says of everything where it stands; the picture's size."""
    columns, near = found.columns, found.near
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
    """Each column from top to bottom, and all of them around one middle line."""
    heights = [sum(_step(box) for box in column) for column in columns]
    for column, height in zip(columns, heights, strict=True):
        y = _MARGIN + (max(heights) - height) / 2
        for box in column:
            box.y = y + _step(box) / 2
            y += _step(box)


def _wished(box: Box, near: dict[str, list[Box]]) -> float:
    """In the middle of its neighbours."""
    return sum(one.y for one in near[box.key]) / len(near[box.key])


def _settle(column: list[Box], wished: list[float]) -> None:
    """Each as near to where it wants to be as the others allow, who keep their order and their distance."""
    offsets, offset = [], 0.0
    for box in column:
        offsets.append(offset + _step(box) / 2)
        offset += _step(box)
    blocks: list[tuple[float, int]] = []  # those that touch each other share what they wish for: the mean, and how many
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
    """A label that is not too long."""
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
