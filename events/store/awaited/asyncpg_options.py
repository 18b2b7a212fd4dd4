"""The options that a URL may have for libpq, which psycopg uses, and what asyncpg makes of them."""

from collections.abc import Mapping

# Options that asyncpg would send to the server as settings, and that can be left out: they only tell the server less,
# or ask for nothing that asyncpg doesn't do anyway.
LEFT_OUT = {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
LEFT_OUT |= {"connect_timeout", "client_encoding", "channel_binding", "gssencmode", "gssdelegation", "sslcompression"}
LEFT_OUT |= {"sslsni", "sslcertmode", "load_balance_hosts", "replication", "fallback_application_name"}
LEFT_OUT |= {"min_protocol_version", "max_protocol_version"}

_KNOWN = {"host", "port", "user", "password", "dbname", "passfile", "service", "options", "application_name"}
_KNOWN |= {"sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"}
_KNOWN |= {"ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib"}
# To leave these out would be to connect in a way that somebody has excluded.
_INSIST = {"channel_binding": "require", "gssencmode": "require", "sslcertmode": "require", "sslrootcert": "system"}


def beyond_asyncpg(query: Mapping[str, object]) -> str:
    """The name of an option that asks for more than asyncpg can do; "" if there is none."""
    for name, value in query.items():
        if name not in _KNOWN | LEFT_OUT or _INSIST.get(name) == value:
            return name
    return ""
