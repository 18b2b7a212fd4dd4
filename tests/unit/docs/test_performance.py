"""docs/performance.md shows the figures of the run that is kept, all of them."""

from support.documents import DOCS, ROOT, between

BENCH = ROOT / "docs" / "bench" / "bench.md"


def figures(text: str) -> list[str]:
    """The lines of tables, and of the list of what was measured on."""
    return [line for line in text.splitlines() if line.startswith(("|", "- "))]


def test_the_figures_are_those_of_the_run_that_is_kept() -> None:
    # Given the page's lines, and those of the run
    shown, kept = figures(between(DOCS / "performance.md", "bench")), figures(BENCH.read_text())
    # Then none is of another run
    assert [line for line in shown if line not in kept] == []
    # And no target is left out
    assert [line for line in kept if line[2:3].isdigit() and line not in shown] == []
