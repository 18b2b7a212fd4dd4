"""Tables for a terminal of any width. No word, name, id or number is ever broken.

What doesn't fit beside the other columns is taken out of the grid: names stand on a line above it, text that wraps and
numbers on lines below it. The header is laid out as the rows are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len

GAP, INDENT = "  ", "  "
_ROOM = 24  # cells that a text of many words wants at least, to be in the grid

Cell = Sequence[str]  # its lines


@dataclass(frozen=True, slots=True)
class Column:
    """`right`: it holds numbers. `wraps`: it holds text, to be broken between words."""

    title: str
    right: bool = False
    wraps: bool = False


class Layout:
    """Where the columns of a table go in so many cells of width.

    Args:
        rows: lines of each cell, in the order of the columns; one line in columns that wrap.
    """

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> None:
        self._columns, self._width = columns, width
        self._heads: list[int] = []
        self._feet: list[int] = []
        titles: Sequence[Cell] = [[column.title] for column in columns]
        cells = [[row[index] for row in (titles, *rows)] for index in range(len(columns))]
        natural = [max(cell_len(line) for cell in one for line in (*cell, "")) for one in cells]
        words = [max(cell_len(word) for cell in one for line in cell for word in ("", *line.split())) for one in cells]
        least = [
            min(natural[index], max(_ROOM, words[index])) if column.wraps else natural[index]
            for index, column in enumerate(columns)
        ]
        self._grid = list(range(len(columns)))
        while len(self._grid) > 1 and self._room(least) < 0:
            self._take_out(least)
        self._widths = least
        self._share_out(natural)

    def header(self) -> Iterator[str]:
        """The titles."""
        yield from self._lines([[column.title] for column in self._columns], titles=True)

    def row(self, cells: Sequence[Cell]) -> Iterator[str]:
        """The lines of a row."""
        yield from self._lines(cells)

    @property
    def is_stacked(self) -> bool:
        """A row has several lines."""
        return bool(self._heads or self._feet)

    def _room(self, widths: Sequence[int]) -> int:
        indent = len(INDENT) if self._heads else 0
        return self._width - indent - sum(widths[one] for one in self._grid) - len(GAP) * (len(self._grid) - 1)

    def _take_out(self, widths: Sequence[int]) -> None:
        """All texts; else the widest name; else the widest number."""
        texts = [one for one in self._grid if self._columns[one].wraps]
        names = [one for one in self._grid if not self._columns[one].right]
        widest = [max(names or self._grid, key=widths.__getitem__)]
        for taken in texts or widest:
            if len(self._grid) > 1:
                self._grid.remove(taken)
                (self._feet if texts or not names else self._heads).append(taken)
        self._heads.sort()
        self._feet.sort()

    def _share_out(self, natural: Sequence[int]) -> None:
        """What room is left goes to the texts, those that need least of it first."""
        texts = sorted((one for one in self._grid if self._columns[one].wraps), key=lambda one: natural[one])
        for number, index in enumerate(texts):
            more = max(0, self._room(self._widths)) // (len(texts) - number)
            self._widths[index] = min(natural[index], self._widths[index] + more)

    def _lines(self, cells: Sequence[Cell], *, titles: bool = False) -> Iterator[str]:
        heads = [" ".join(cells[one]) for one in self._heads]
        yield from _flow(heads, self._width, GAP)
        indent = INDENT if self._heads else ""
        columns = [
            wrapped("".join(cells[one]), self._widths[one]) if self._columns[one].wraps else list(cells[one])
            for one in self._grid
        ]
        for parts in zip_longest(*columns, fillvalue=""):
            padded = [self._padded(index, part) for index, part in zip(self._grid, parts, strict=True)]
            yield (indent + GAP.join(padded)).rstrip()
        texts = [one for one in self._feet if self._columns[one].wraps]
        for one in texts:
            text = "".join(cells[one])
            label = f"{self._columns[one].title}: " if len(texts) > 1 and not titles else ""
            if text:
                yield from (INDENT + line for line in wrapped(label + text, self._width - len(INDENT)))
        numbers = [] if titles else [f"{self._columns[one].title} {cells[one][0]}"
                                     for one in self._feet if not self._columns[one].wraps and cells[one]]  # fmt: skip
        yield from (INDENT + line for line in _flow(numbers, self._width - len(INDENT), GAP))

    def _padded(self, index: int, text: str) -> str:
        space = " " * (self._widths[index] - cell_len(text))
        return space + text if self._columns[index].right else text + space


def wrapped(text: str, width: int) -> list[str]:
    """Lines of so many cells, broken between words; a word that is longer is a line of its own."""
    return list(_flow(text.split(), width, " "))


def _flow(words: Sequence[str], width: int, gap: str) -> Iterator[str]:
    line = ""
    for word in words:
        longer = f"{line}{gap}{word}" if line else word
        if line and cell_len(longer) > width:
            yield line
            line = word
        else:
            line = longer
    if line:
        yield line
