"""docs/faults.md and README.md say the same of the runs of scripts/chaos."""

import re

from support.documents import DOCS, README, between

PAGE = DOCS / "faults.md"


def rows() -> dict[str, list[str]]:
    """What was counted, to a figure for each mode; the last column is plain Celery."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in between(PAGE, "chaos").splitlines()]
    return {name: cells for name, *cells in lines}


def test_every_figure_that_must_be_zero_is_explained_and_zero() -> None:
    # Given the words that the page explains
    explained = re.findall(r"^\| ([A-Z-]{4,}) \|", PAGE.read_text().partition("<!-- chaos")[0], re.MULTILINE)
    counted = {name: cells for name, cells in rows().items() if name.isupper()}
    # Then they are those of the table
    assert list(counted) == explained
    # And the table shows no fault of ours
    assert all(set(ours) == {"0"} for *ours, _ in counted.values())


def test_the_front_door_tells_the_figures_of_plain_celery() -> None:
    readme = " ".join(README.read_text().split())
    assert f"as plain Celery tasks the same handlers lost {rows()['LOST'][-1]} events" in readme.replace("As p", "as p")
    assert f"had {rows()['EFFECT-DUPLICATED'][-1]} effects twice" in readme
