"""The line of a text that says most: errors of databases and brokers go on for many."""


def first_line(text: object) -> str:
    """The first line of an error or a cell that isn't blank, without blanks around it; "" if there is none."""
    return str(text).strip().partition("\n")[0].rstrip()
