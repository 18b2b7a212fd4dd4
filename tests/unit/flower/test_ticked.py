"""The message after an action on ticked deliveries."""

import pytest

from events.flower.ticked import sentence


@pytest.mark.parametrize(
    ("verb", "count", "wanted", "said"),
    [
        ("replay", 3, 3, "alice replayed 3 dead letters."),
        (
            "replay",
            2,
            5,
            "alice replayed 2 dead letters. 3 dead letters were gone already: "
            "another operator replayed or discarded them.",
        ),
        (
            "discard",
            0,
            1,
            "Nothing was discarded. 1 dead letter was gone already: another operator replayed or discarded it.",
        ),
        (
            "restore",
            1,
            2,
            "alice restored 1 discarded delivery. 1 discarded delivery can't be restored: another operator restored it "
            "already, or `events dead edit` made a corrected copy of it.",
        ),
    ],
)
def test_it_says_what_was_done_and_why_the_rest_was_not(verb: str, count: int, wanted: int, said: str) -> None:
    assert sentence(verb, count, wanted, "alice") == said
