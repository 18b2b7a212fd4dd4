"""Numbers in sentences."""


def plural(number: int, noun: str, nouns: str = "") -> str:
    """The number and its noun: "1 event", "2,000 events". `nouns`: the plural, if it isn't noun + s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def deliveries(number: int) -> str:
    """ "1 delivery", "2 deliveries"."""
    return plural(number, "delivery", "deliveries")


def deliveries_wait(number: int) -> str:
    """ "1 delivery waits", "2 deliveries wait"."""
    return f"{deliveries(number)} {'waits' if number == 1 else 'wait'}"
