"""Roles of PostgreSQL with as few rights as a test wants."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from support.servers import PostgresDatabase


class Role:
    """Somebody who may do nothing yet in this database. `owner`: its URL, of who may do everything."""

    def __init__(self, owner: str) -> None:
        self.name, self.owner = f"poor_{uuid4().hex[:8]}", owner
        self.url = make_url(owner).set(username=self.name).render_as_string(hide_password=False)
        self.say(f"CREATE ROLE {self.name} LOGIN")

    def say(self, statement: str) -> None:
        """As the owner of the database."""
        with psycopg.connect(self.owner, autocommit=True) as connection:
            connection.execute(statement)

    def may(self, *rights: str) -> None:
        """For example `SELECT ON event_store`."""
        for right in rights:
            self.say(f"GRANT {right} TO {self.name}")

    def gone(self) -> None:
        self.say(f"DROP OWNED BY {self.name}; DROP ROLE {self.name}")


def role_in(database: PostgresDatabase) -> Iterator[Role]:
    role = Role(database.url)
    try:
        yield role
    finally:
        role.gone()
        database.drop()
