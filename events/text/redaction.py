"""Hides the secrets of URLs in any text: an error, a log line, a traceback."""

import re
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import unquote_plus

from events.text.lines import first_line

HIDDEN = "***"

# A parameter is secret if its name contains one of these, or has one as a whole word, as `ssl.key.pem` has.
_ANYWHERE = re.compile(
    "pass(?!ive)|secret|token|signature|credential|apikey|accesskey|privatekey|sharedkey|authorization|bearer|oauth|jaas"
)
_WORDS = {
    "auth",
    "code",
    "jwt",
    "key",
    "keys",
    "hmac",
    "nonce",
    "otp",
    "pem",
    "pin",
    "psk",
    "pw",
    "pwd",
    "sas",
    "seed",
    "sig",
}
_NAME = re.compile(r"(?:[?&#;]|\\u0026)([^?&#;=\s]+)=")  # JSON may have the & escaped, and slashes
_INNER_QUOTE = r"""["'](?![][,:;(){}]*(?:[\s"']|$))"""  # a quote that ends no string
_VALUE = re.compile(rf"""(?:[^&\s"']|{_INNER_QUOTE})*""")
_WORD = re.compile(rf"""(?:[^\s"']|{_INNER_QUOTE})+""")
_TELLS_WHO = re.compile(r"(?:postgres|amqp|rabbitmq)[\w+.-]*$", re.IGNORECASE)  # a name alone is a user here, no token
_SLASHES = r":\\*/\\*/"
_SCHEME = rf"[A-Za-z][\w+.-]*{_SLASHES}"
_NEXT_URL = re.compile(rf",+(?={_SCHEME})")  # as EVENTS_BRIDGES separates them


def redact(text: str) -> str:
    """`text` with *** for the password and other secrets of every URL in it.

    Hidden are passwords of user info, users that stand for a token (`nats://token@host`, `https://key:@host`), and the
    values of parameters with names such as password, token, secret, sig or api_key. Parts that can't be told
    apart are hidden, too: of `redis://:a/b@c@host` only the host is left.
    """
    spans = sorted([*_of_users(text), *_of_parameters(text)])
    parts: list[str] = []
    done = 0
    for begin, end in spans:  # spans may overlap, where a secret has characters that URLs don't allow
        if begin > done or not parts:
            parts += [text[done:begin], HIDDEN]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def brief(text: object, most: int = 300) -> str:
    """The first line of `text` without secrets, cut to so many characters: in this order, as half a URL is no URL."""
    line = redact(first_line(text))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _of_users(text: str) -> Iterator[tuple[int, int]]:
    """Where the secrets of user info begin and end."""
    if "@" not in text or not re.search(_SLASHES, text):
        return
    for word in _WORD.finditer(text):
        ends = [word.start(), *(found.end() for found in _NEXT_URL.finditer(text, *word.span())), word.end()]
        for begin, end in pairwise(ends):
            if (span := _of_user(text[begin:end])) is not None:
                yield begin + span[0], begin + span[1]


def _of_user(url: str) -> tuple[int, int] | None:
    found = re.search(_SLASHES, url)
    scheme, begin = (url[: found.start()], found.end()) if found else (url, len(url))
    who, at, _ = url[begin:].rpartition("@")
    user, colon, password = who.partition(":")
    if not at or (not colon and re.search("[/?#]", user)):  # the @ stands in a path or a parameter
        return None
    end = begin + len(who)
    if password and "@" not in user:
        return begin + len(user + colon), end
    return (begin, end) if colon or "@" in user or not _TELLS_WHO.search(scheme) else None


def _of_parameters(text: str) -> Iterator[tuple[int, int]]:
    """Where the values of parameters begin and end that are secret."""
    done = 0
    for found in _NAME.finditer(text) if "=" in text else ():
        if found.start() < done or not _is_secret(unquote_plus(found[1])):  # perhaps within a secret
            continue
        if (ends := _VALUE.match(text, found.end())) and ends[0]:
            done = ends.end()
            yield found.end(), done


def _is_secret(name: str) -> bool:
    words = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower())
    return bool(_ANYWHERE.search("".join(words))) or not _WORDS.isdisjoint(words)
