"""README.md is the front door: short, and its figures are true. Its first block: see tests/unit/test_quickstart.py."""

from support.documents import README, ROOT, between

MOST_BYTES = 10_000  # what a newcomer reads before they decide


def test_it_is_short() -> None:
    assert len(README.read_bytes()) <= MOST_BYTES


def test_its_headline_figures_are_lines_of_the_run_that_is_kept() -> None:
    # Given the table of the run, and the lines that the front door shows
    kept = (ROOT / "docs" / "bench" / "bench.md").read_text().splitlines()
    headings, _, *figures = between(README, "bench").splitlines()
    # Then they are four of its lines, as they stand there, and not only those that look good
    assert len(figures) == 4
    assert [line for line in (headings, *figures) if line not in kept] == []
    assert any("**no**" in line for line in figures)


def test_it_says_how_many_targets_are_missed() -> None:
    missed = (ROOT / "docs" / "bench" / "bench.md").read_text().count("| **no** |")
    assert f"{ {2: 'Two'}[missed] } targets are missed" in README.read_text()
