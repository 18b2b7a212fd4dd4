"""Explains the errors with which a broker refuses connections and commands, and names the cure."""

import re

_VHOST_MISSING = (
    r"make it: rabbitmqctl add_vhost \1; rabbitmqctl set_permissions -p \1 USER '.*' '.*' '.*'; or mend the end of "
    r"EVENTS_BROKER_URL"
)
_NOT_PERMITTED = r"rabbitmqctl set_permissions -p \1 \2 '.*' '.*' '.*'"
_CREDENTIALS = "check the user and the password in EVENTS_BROKER_URL"
_REDIS_LOGIN = (
    r"NOAUTH|WRONGPASS|[Aa]uthentication required|invalid (?:username-)?password|without any password configured"
)
_REDIS_ACL = "let the user in EVENTS_BROKER_URL do that: ACL SETUSER name ~* &* +@all"
_TLS = "check whether EVENTS_BROKER_URL begins with rediss:// or amqps:// where it should"
_UNKNOWN_HOST = r"Name or service not known|getaddrinfo|nodename nor servname|name resolution"
_AWAY = r"refused|timed out|unreachable|[Cc]onnection reset|closed"

# Patterns of the broker's words, and cures; the first pattern that matches counts. A cure may name groups: \1, \2.
_CURES: tuple[tuple[str, str], ...] = (
    (r"vhost '?([^' ]+)'? not found", _VHOST_MISSING),
    (r"access to vhost '([^']+)' refused for user '([^']+)'", _NOT_PERMITTED),
    (r"in vhost '([^']+)' refused for user '([^']+)'", _NOT_PERMITTED),
    (r"ACCESS_REFUSED|Login was refused", _CREDENTIALS),
    (_REDIS_LOGIN, _CREDENTIALS),
    (r"NOPERM|has no permissions|permissions to (?:run|access)", _REDIS_ACL),
    (r"DB index is out of range|invalid DB index", "mend the number at the end of EVENTS_BROKER_URL"),
    (r"max number of clients", "raise its maxclients"),
    (r"OOM command not allowed|maxmemory", "raise its maxmemory, with maxmemory-policy noeviction"),
    (r"READONLY|read only replica", "name the primary in EVENTS_BROKER_URL"),
    (r"SSL|TLS|certificate", _TLS),
    (_UNKNOWN_HOST, "check the name of the host in EVENTS_BROKER_URL"),
    (_AWAY, "check the address in EVENTS_BROKER_URL, and that it runs"),
)


def broker_cure(error: object) -> str:
    """The cure of a broker's error; "" if none is known."""
    for pattern, cure in _CURES:
        if match := re.search(pattern, str(error)):
            return match.expand(cure)
    return ""


def told(error: object) -> str:
    """The broker's words in one line, and the cure."""
    said = " ".join(str(error).split()) or type(error).__name__
    cure = broker_cure(error)
    return f"{said}; {cure}" if cure else said
