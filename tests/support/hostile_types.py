"""Names of event types that servers may take for something else, or refuse."""

from events.event import MAX_NAME

HOSTILE_TYPES = (
    "card..added", ".card", "card.", "a b", " ", "*", ">", "#", "a.*", "a.>", "a.#", "{a}", "a%20b", "a/b?c#d", "a:b",
    "Grüße", "本", "a\tb", "ü" * MAX_NAME, "a" * (MAX_NAME - 20), "a" * MAX_NAME,
)  # fmt: skip
