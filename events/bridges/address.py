"""Reads the URL of a bridge. Our query parameters are taken out of the URL; the others are left for the client.

    redis+streams://host/0?name=orders&direction=both&forward=OrderPlaced,OrderPaid&maxlen=50000

| parameter | default | meaning |
|---|---|---|
| `name` | the scheme up to `+` | the handler is `bridge.<name>`; keep it, as deliveries are stored under it |
| `direction` | `out` | `out`, `in` or `both` |
| `forward` | EVENTS_FORWARD | event types that the bridge forwards; `*` for all |
| `accept` | | inbound: event types that the bridge accepts besides public events; `*` for all |
| `format` | `flat` | `flat` or `structured` (CloudEvents JSON); of HTTP also `webhook`: `{type, timestamp, data}` |
| `prefix` | `events` | the beginning of addresses |
| `group` | EVENTS_QUEUE | processes of one group share the messages; each service that reads them needs its own group |
| `redeliver` | `60s` | messages not acknowledged for so long go to another process |
| `ca` | the system's | with TLS: a file of certificates in PEM, one of which signed the server's certificate |
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from events.bridges.contract import Scheme
from events.errors import ConfigurationError
from events.settings import Settings, duration
from events.text import redact

COMMON = ("name", "direction", "forward", "accept", "format", "prefix", "group", "redeliver", "ca")


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of a configured bridge, taken apart.

    Attributes:
        scheme: the scheme of the URL, which names the kind of bridge.
        url: the URL without our own parameters.
        forward: event types to forward, `*` for all; empty for all public events.
        accept: event types that may come in besides public events, `*` for all.
        form: the form of messages, see events.bridges.cloudevents.
        redeliver: seconds after which messages that were not acknowledged go to another process.
        ca: a file of certificates to trust; "" for the system's, or those that SSL_CERT_FILE names.
        options: the parameters that only this kind of bridge has.
        timeout: seconds after which a silent server counts as lost.
    """

    scheme: str
    url: str = field(repr=False)
    name: str
    outbound: bool = True
    inbound: bool = False
    forward: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    form: str = "flat"
    prefix: str = "events"
    group: str = "events"
    redeliver: float = 60.0
    ca: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # they may hold a token
    timeout: float = 5.0

    @property
    def place(self) -> str:
        """The server and the names on it, without secrets: tells the bridge from another bridge of the same name."""
        own = {**self.options, "prefix": self.prefix, "group": self.group}
        return redact(f"{self.url}{'&' if '?' in self.url else '?'}{urlencode(sorted(own.items()))}")

    @property
    def sealed(self) -> bool:
        """Whether only bodies are signed, so that headers can't be trusted."""
        return bool(self.options.get("secret"))

    def number(self, option: str, default: int) -> int:
        """An option that is a whole number above zero. Raises ConfigurationError."""
        value = self.options.get(option, str(default))
        if not value.isdigit() or int(value) < 1:
            raise wrong(self.url, f"{option}={value}", "use a whole number above zero")
        return int(value)


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case. Raises ConfigurationError if the text is no URL with a host."""
    match = re.match(r"([A-Za-z][\w+.-]*)://[^/?#]", url)
    if match is None:
        raise wrong(url, "", "it is no URL; use scheme://host:port/, such as redis+streams://localhost/0")
    return match[1].lower()


def parse(url: str, says: Scheme, own: Collection[str], settings: Settings) -> Address:
    """The address of a URL.

    Args:
        says: the properties of the URL's scheme.
        own: query parameters that only this kind of bridge has.

    Raises:
        ConfigurationError: the URL makes no sense; the message names the cure.
    """
    scheme = scheme_of(url)
    parts = urlsplit(url)
    given: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in COMMON or name in own:
            given[name] = value
        else:
            others.append((name, value))
    name = given.get("name", scheme.partition("+")[0])
    if not re.fullmatch(r"[\w-]{1,100}", name):
        raise wrong(url, f"name={name}", "use 1 to 100 letters, digits, '_' or '-'")
    direction = given.get("direction", "out")
    if direction not in ("out", "in", "both"):
        raise wrong(url, f"direction={direction}", "use out, in or both")
    form = given.get("format", "flat")
    if form not in says.forms:
        raise wrong(url, f"format={form}", f"use {' or '.join(says.forms)}")
    prefix, group = given.get("prefix", "events"), given.get("group", settings.queue)
    for option, value in (("prefix", prefix), ("group", group)):
        if not re.fullmatch(r"[\w-]{1,100}", value):
            raise wrong(url, f"{option}={value}", "use 1 to 100 letters, digits, '_' or '-'")
    return Address(
        scheme=scheme,
        url=urlunsplit(parts._replace(query=urlencode(others))),
        name=name,
        outbound=direction != "in",
        inbound=direction != "out",
        forward=_names(given.get("forward", "")) or tuple(settings.forward),
        accept=_names(given.get("accept", "")),
        form=form,
        prefix=prefix,
        group=group,
        redeliver=_seconds(url, given.get("redeliver", "60s")),
        ca=_certificates(url, says, given["ca"]) if "ca" in given else "",
        options={name: value for name, value in given.items() if name in own},
        timeout=settings.broker_timeout.total_seconds(),
    )


def wrong(url: str, parameter: str, cure: str) -> ConfigurationError:
    """The error about a bridge's URL. `parameter`: the wrong parameter with its value; "" if none is to blame."""
    shown = redact(f"?{parameter}")[1:] + ": " if parameter else ""
    return ConfigurationError(f"bridge {redact(url)}: {shown}{cure}")


def _names(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _seconds(url: str, value: str) -> float:
    try:
        return duration(value).total_seconds()
    except ValueError as error:
        raise wrong(url, f"redeliver={value}", str(error)) from None


def _certificates(url: str, says: Scheme, path: str) -> str:
    if not says.tls:
        raise wrong(url, f"ca={path}", f"{scheme_of(url)}:// has no TLS; use the scheme that has")
    if not path:  # perhaps the value of a variable that isn't set
        raise wrong(url, "ca=", "it is empty; name a file of certificates in PEM, or leave it out")
    import ssl  # here, as every command imports this module

    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # or ssl.SSLError, a subclass
        raise wrong(url, f"ca={path}", f"{error.strerror or error}; name a file of certificates in PEM") from None
    return path
