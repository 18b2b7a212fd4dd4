"""What the two contexts write. Each has both tables, so that whoever imports either can make them."""

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table

from events import on_migrate

_tables = MetaData()
recommended = Table("recommended", _tables, Column("id", Integer, primary_key=True), Column("card", String(100)))
offers = Table("offers", _tables, Column("id", Integer, primary_key=True), Column("card", String(100)))


@on_migrate
def create_tables(connection: Connection) -> None:
    _tables.create_all(connection)
