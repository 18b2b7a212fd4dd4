"""Explains the errors with which a database refuses a connection or a statement, and names the cure."""

import re

from sqlalchemy.exc import DBAPIError

from events.store.schema.postgres_schema import schema
from events.text import brief

# The first pattern that the server's message or SQLSTATE matches counts. {role} is the role of EVENTS_DATABASE_URL,
# {schema} the ledger's, \\1 the group of the match.
_CURES: tuple[tuple[str, str], ...] = (
    (r"28P01|password authentication failed|no password supplied", "check the user and the password in it"),
    (r"""role "([^"]+)" does not exist""", r"check the user in it, or make that role: createuser \1"),
    (r"""role "([^"]+)" is not permitted to log in""", r"ALTER ROLE \1 LOGIN; or check the user in it"),
    (
        r"""bad value for (\w+)|connection option "(\w+)"|invalid (?!sslmode)(\w+) value:"""
        r"""|(?:invalid value for|unrecognized configuration) parameter "([^"]+)\"""",
        r"mend the option \1 in it",
    ),
    (
        r"no pg_hba.conf entry",
        "the server's pg_hba.conf lets this user in from here only in another way, if at all; "
        "perhaps with ?sslmode=require",
    ),
    (r"""3D000|database "([^"]+)" does not exist""", r"make it: createdb \1; or mend the name"),
    (r"permission denied for database (\S+)", r"GRANT CONNECT ON DATABASE \1 TO {role}"),
    (
        r"permission denied for schema (\S+)",
        r"GRANT USAGE, CREATE ON SCHEMA \1 TO {role}; or run `events migrate` as a role that may create tables there",
    ),
    (r"must be (?:the )?owner of", "run `events migrate` as the role that owns the tables"),
    (
        r"permission denied for (?:table|sequence|relation) ",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    ),
    (r"42501|permission denied", "use a role that may do that"),
    (
        r"3F000|no schema has been selected",
        "make the schema that the search_path names, or mend that (it may be in the URL, or of the role or "
        "database); if it is there: GRANT USAGE, CREATE ON SCHEMA NAME TO {role}",
    ),
    (
        r"25006|read-only transaction",
        "it is a standby, so name the primary; or {role} or the database has default_transaction_read_only",
    ),
    (
        r"53300|too many (?:clients|connections)|remaining connection slots",
        "raise its max_connections; `events doctor` adds up what workers need",
    ),
    (r"42P01|no such table|relation .* does not exist", "run `events migrate`"),
    (
        r"unsupported startup parameter",
        "PgBouncer takes no options= there: ALTER ROLE {role} SET search_path = NAME, or the like, in its place",
    ),
    (r"no more connections allowed|query_wait_timeout", "raise max_client_conn or default_pool_size of PgBouncer"),
    (r"sslmode|SSL", "check sslmode in it"),
    (
        r"could not translate host name|[Nn]ame or service not known|failed to resolve host",
        "check the name of the host in it",
    ),
    (r"unable to open database file", "its folder must be there, and this user be allowed to write in it"),
    (r"readonly database", "let this user write the file, and in its folder"),
    (r"file is not a database", "it is a file of another kind; name another"),
    (
        r"refused|timed? ?out|timeout expired|No such file or directory|unreachable|closed the connection",
        "check the address, and that it runs",
    ),
)


def cure_of(error: DBAPIError, role: str | None = None) -> str:
    """The cure, "" if none is known. `role`: the role of EVENTS_DATABASE_URL."""
    said = f"{getattr(error.orig, 'sqlstate', None) or ''} {error.orig}"
    for pattern, cure in _CURES:
        if found := re.search(pattern, said):
            name = next(filter(None, found.groups()), "NAME")
            cure = cure.replace(r"\1", name.strip(",.;")).replace("{role}", role or "its role")
            return cure.replace("{schema}", schema() or "public")
    return ""


def reason_of(error: DBAPIError) -> str:
    """The database's message, in one line."""
    primary = getattr(getattr(error.orig, "diag", None), "message_primary", None)  # without the position
    return " ".join(str(primary or error.orig).split())


def explained(error: BaseException, role: str | None = None) -> str:
    """One line for a log before the next try: the error, and the cure if there is one."""
    cure = cure_of(error, role) if isinstance(error, DBAPIError) else ""
    return brief(error) + (f"; {cure}" if cure else "")


def refusal(error: DBAPIError) -> str:
    """One line for a person whose command needs the database."""
    cure = cure_of(error) or "check it, or run `events migrate`"
    return f"the database of EVENTS_DATABASE_URL refused: {reason_of(error)[:300]}; {cure}"
