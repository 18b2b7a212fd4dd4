"""Text that others wrote, with everything written out that a terminal would obey."""

import unicodedata

_JOINERS = "\u200c\u200d"  # scripts and emoji need them; they are invisible, and change nothing around them
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object, *, lines: bool = False) -> str:
    """`text` with everything that a terminal would obey, or hide, written out: `\\x1b`, `\\u202e`, `\\n`.

    These are control characters (ESC and the C1 controls among them), marks that change the direction of writing, line
    separators, other invisible characters, halves of surrogate pairs, and code points that Unicode doesn't assign. The
    rest can't move the cursor, colour, overwrite or forge another line, and can be encoded.

    Args:
        lines: newlines and tabs stay, as in a traceback.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(one if _is_fit(one, lines) else _written_out(one) for one in text)


def _is_fit(letter: str, lines: bool) -> bool:
    return (
        letter.isprintable()
        or letter in _JOINERS
        or (lines and letter in "\n\t")
        or unicodedata.category(letter) == "Zs"  # a space that doesn't break, for example
    )


def _written_out(letter: str) -> str:
    code = ord(letter)
    if letter in _SHORT:
        return _SHORT[letter]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
