"""What a broker means by an error that it refuses us with, and what to do about it."""

import re

# By what the broker says; the first that fits. \\1 and \\2 are what was found.
_CURES: tuple[tuple[str, str], ...] = (
    (r"vhost '?([^' ]+)'? not found",
     r"make it: rabbitmqctl add_vhost \1; rabbitmqctl set_permissions -p \1 USER '.*' '.*' '.*'; or mend the end of "
     r"EVENTS_BROKER_URL"),
    (r"access to vhost '([^']+)' refused for user '([^']+)'", r"rabbitmqctl set_permissions -p \1 \2 '.*' '.*' '.*'"),
    (r"in vhost '([^']+)' refused for user '([^']+)'", r"rabbitmqctl set_permissions -p \1 \2 '.*' '.*' '.*'"),
    (r"ACCESS_REFUSED|Login was refused", "check the user and the password in EVENTS_BROKER_URL"),
    (r"NOAUTH|WRONGPASS|[Aa]uthentication required|invalid (?:username-)?password|without any password configured",
     "check the user and the password in EVENTS_BROKER_URL"),
    (r"NOPERM|has no permissions|permissions to (?:run|access)",
     "let the user in EVENTS_BROKER_URL do that: ACL SETUSER name ~* &* +@all"),
    (r"DB index is out of range|invalid DB index", "mend the number at the end of EVENTS_BROKER_URL"),
    (r"max number of clients", "raise its maxclients"),
    (r"OOM command not allowed|maxmemory", "raise its maxmemory, with maxmemory-policy noeviction"),
    (r"READONLY|read only replica", "name the primary in EVENTS_BROKER_URL"),
    (r"SSL|TLS|certificate", "check whether EVENTS_BROKER_URL begins with rediss:// or amqps:// where it should"),
    (r"Name or service not known|getaddrinfo|nodename nor servname|name resolution",
     "check the name of the host in EVENTS_BROKER_URL"),
    (r"refused|timed out|unreachable|[Cc]onnection reset|closed",
     "check the address in EVENTS_BROKER_URL, and that it runs"),
)  # fmt: skip


def broker_cure(error: object) -> str:
    """What to do about it; "" if nobody knows."""
    for pattern, cure in _CURES:
        if found := re.search(pattern, str(error)):
            return found.expand(cure)
    return ""


def told(error: object) -> str:
    """What the broker said, in one line, and the cure."""
    said = " ".join(str(error).split()) or type(error).__name__
    cure = broker_cure(error)
    return f"{said}; {cure}" if cure else said
