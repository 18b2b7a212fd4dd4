"""The line of a text that says most: errors of databases and brokers go on for many."""


def first_line(text: object) -> str:
    """The first line that has something in it; "" if there is none."""
    return str(text).lstrip().partition("\n")[0]
