"""URLs as people write them into settings, and how those read them who take them."""

import re
from urllib.parse import quote, unquote


def one_host(url: str) -> str:
    """The URL as SQLAlchemy reads it: several hosts, as libpq has them (`//user@db1:5432,db2/name`), are options."""
    found = re.fullmatch(r"(?P<scheme>[^:/]+://)(?P<user>[^/?]*@)?(?P<hosts>[^/?@]*,[^/?@]*)(?P<rest>/[^?]*)?"
                         r"(?:\?(?P<options>.*))?", url)  # fmt: skip
    if found is None:
        return url
    options = [f"host={host}" for host in found["hosts"].split(",")] + ([found["options"]] if found["options"] else [])
    return f"{found['scheme']}{found['user'] or ''}{found['rest'] or '/'}?{'&'.join(options)}"


def unspaced(url: str) -> str:
    """The same URL, with spaces as URLs have them: else half a password would stand in a text as a word of its own."""
    return re.sub(r"\s", lambda found: quote(found[0]), url)


def is_cut_short(url: str) -> bool:
    """Whether a password ends at an @ of its own, as SQLAlchemy reads it: the rest of it would be shown as a host."""
    found = re.match(r"[^:/]*(?::[^@]*)?@(?P<where>[^?]*)(?:\?(?P<options>.*))?", url.partition("://")[2])
    if found is None:
        return False
    names = [option.partition("=")[0] for option in (found["options"] or "").split("&")]
    return any("@" in part for part in (found["where"], *names))


def path_of(url: str) -> str:
    """Without the slash, or two, that it begins with, as kombu reads it; of several URLs that of the first."""
    found = re.match(r"[^/?#]*//?([^?#;]*)", url.partition("://")[2].rpartition("@")[2])
    return unquote(found[1]) if found else ""
