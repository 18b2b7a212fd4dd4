"""Tables for a terminal of any width. No word, name, id or number is ever broken.

A column that doesn't fit beside the others leaves the grid: a name stands on a line above the row, a number or a text
that wraps on a line below the row. The header is laid out as the rows are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len

GAP, INDENT = "  ", "  "
_ROOM = 24  # terminal cells that a text of many words needs at least to stay in the grid

Cell = Sequence[str]  # the lines of a cell


@dataclass(frozen=True, slots=True)
class Column:
    """`right`: the column holds numbers. `wraps`: the column holds text, to be broken between words."""

    title: str
    right: bool = False
    wraps: bool = False


class Layout:
    """Where the columns of a table go.

    Args:
        rows: lines of each cell, in the order of the columns; a cell of a column that wraps has one line.
        width: of the terminal, in cells.
    """

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> None:
        self._columns, self._width = columns, width
        self._heads: list[int] = []
        self._feet: list[int] = []
        titles: Sequence[Cell] = [[column.title] for column in columns]
        cells = [[row[index] for row in (titles, *rows)] for index in range(len(columns))]
        natural = [max(cell_len(line) for cell in column for line in (*cell, "")) for column in cells]
        words = [max(map(cell_len, _words(column))) for column in cells]
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
        """The lines of the titles."""
        yield from self._lines([[column.title] for column in self._columns], titles=True)

    def row(self, cells: Sequence[Cell]) -> Iterator[str]:
        """The lines of a row."""
        yield from self._lines(cells)

    @property
    def is_stacked(self) -> bool:
        """Whether a row has several lines."""
        return bool(self._heads or self._feet)

    def _room(self, widths: Sequence[int]) -> int:
        indent = len(INDENT) if self._heads else 0
        return self._width - indent - sum(widths[index] for index in self._grid) - len(GAP) * (len(self._grid) - 1)

    def _take_out(self, widths: Sequence[int]) -> None:
        """Take columns out of the grid: all texts; else the widest name; else the widest number."""
        texts = [index for index in self._grid if self._columns[index].wraps]
        names = [index for index in self._grid if not self._columns[index].right]
        widest = [max(names or self._grid, key=widths.__getitem__)]
        for taken in texts or widest:
            if len(self._grid) > 1:
                self._grid.remove(taken)
                (self._feet if texts or not names else self._heads).append(taken)
        self._heads.sort()
        self._feet.sort()

    def _share_out(self, natural: Sequence[int]) -> None:
        """Give the room that is left to the texts, first to those that need the least."""
        texts = sorted((index for index in self._grid if self._columns[index].wraps), key=natural.__getitem__)
        for number, index in enumerate(texts):
            more = max(0, self._room(self._widths)) // (len(texts) - number)
            self._widths[index] = min(natural[index], self._widths[index] + more)

    def _lines(self, cells: Sequence[Cell], *, titles: bool = False) -> Iterator[str]:
        heads = [" ".join(cells[index]) for index in self._heads]
        yield from _flow(heads, self._width, GAP)
        indent = INDENT if self._heads else ""
        columns = [
            wrapped("".join(cells[index]), self._widths[index]) if self._columns[index].wraps else list(cells[index])
            for index in self._grid
        ]
        for parts in zip_longest(*columns, fillvalue=""):
            padded = [self._padded(index, part) for index, part in zip(self._grid, parts, strict=True)]
            yield (indent + GAP.join(padded)).rstrip()
        texts = [index for index in self._feet if self._columns[index].wraps]
        for index in texts:
            text = "".join(cells[index])
            label = f"{self._columns[index].title}: " if len(texts) > 1 and not titles else ""
            if text:
                yield from (INDENT + line for line in wrapped(label + text, self._width - len(INDENT)))
        numbers = [] if titles else [index for index in self._feet if not self._columns[index].wraps and cells[index]]
        labelled = [f"{self._columns[index].title} {cells[index][0]}" for index in numbers]
        yield from (INDENT + line for line in _flow(labelled, self._width - len(INDENT), GAP))

    def _padded(self, index: int, text: str) -> str:
        space = " " * (self._widths[index] - cell_len(text))
        return space + text if self._columns[index].right else text + space


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken between words; a longer word is a line of its own."""
    return list(_flow(text.split(), width, " "))


def _words(column: Sequence[Cell]) -> Iterator[str]:
    yield ""
    for cell in column:
        for line in cell:
            yield from line.split()


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
