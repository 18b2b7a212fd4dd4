"""What is shown while the worker works: a live bar on a terminal, a line now and then anywhere else."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

EVERY = 3.0  # seconds between lines where no bar can be drawn


class Watch:
    """Shows published, done and dead; `total` deliveries end it."""

    def __init__(self, console: Console, cards: int, total: int) -> None:
        self._console = console
        self._cards = cards
        self._total = total
        self._shown = ("", 0.0)
        self._bar: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._bar = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(None), console=console, transient=True
            )
            self._task = self._bar.add_task("starting", total=total)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, published: int, done: int, dead: int) -> None:
        text = f"published {published:,}/{self._cards:,}   handled {done:,}/{self._total:,}   dead {dead:,}"
        if self._bar:
            self._bar.update(self._task, completed=done, description=text)
            return
        last, at = self._shown
        if text != last and (time.monotonic() - at >= EVERY or done == self._total):
            self._shown = (text, time.monotonic())
            self._console.print(f"    {text}", highlight=False)

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._console.print(text, highlight=False)
