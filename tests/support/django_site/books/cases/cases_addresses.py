"""Workers find the database by its address: what DATABASES says, as a URL."""

from typing import Any

from django.db.backends.dummy.base import DatabaseWrapper as Dummy
from django.db.backends.postgresql.base import DatabaseWrapper as Postgres
from django.db.backends.sqlite3.base import DatabaseWrapper as Sqlite
from django.test import SimpleTestCase
from sqlalchemy import create_engine

from events.django.addresses import IN_MEMORY, url_of
from events.errors import ConfigurationError
from events.settings.settings import Settings

USUAL = {"NAME": "", "USER": "", "PASSWORD": "", "HOST": "", "PORT": "", "TIME_ZONE": None, "OPTIONS": {}}


def arguments(**given: Any) -> dict[str, Any]:
    """What psycopg would be called with for these settings of Django."""
    url = Settings(database_url=url_of(Postgres(USUAL | given, "default"))).database_url
    positional, named = create_engine(url).dialect.create_connect_args(create_engine(url).url)
    assert not positional
    return {name: value for name, value in named.items() if name not in ("context", "autocommit")}


class Addresses(SimpleTestCase):
    def test_of_postgresql(self) -> None:
        for given, wanted in [
            ({"NAME": "shop"}, {"dbname": "shop"}),
            ({"NAME": "shop", "USER": "ada", "PASSWORD": "p@ss/w:rd", "HOST": "db", "PORT": "6432"},
             {"dbname": "shop", "user": "ada", "password": "p@ss/w:rd", "host": "db", "port": 6432}),
            ({"NAME": "shop", "HOST": "/var/run/postgresql"}, {"dbname": "shop", "host": "/var/run/postgresql"}),
            ({"NAME": "shop", "HOST": "db1,db2"}, {"dbname": "shop", "host": "db1,db2", "port": ","}),
            ({"NAME": "shop", "OPTIONS": {"sslmode": "require", "pool": True, "server_side_binding": True}},
             {"dbname": "shop", "sslmode": "require"}),
            ({"NAME": "shop", "OPTIONS": {"assume_role": "clerk", "options": "-c search_path=a,b"}},
             {"dbname": "shop", "options": "-c search_path=a,b -c role=clerk"}),
            ({"OPTIONS": {"service": "shop"}}, {"service": "shop"}),
        ]:  # fmt: skip
            with self.subTest(given):
                self.assertEqual(arguments(**given), wanted)

    def test_of_sqlite(self) -> None:
        for name, wanted in [
            ("/data/shop.db", "sqlite:////data/shop.db"),
            ("file:/data/shop.db?mode=rwc", "sqlite:///file:/data/shop.db?mode=rwc&uri=true"),
            (":memory:", IN_MEMORY),
            ("file:shop?mode=memory&cache=shared", IN_MEMORY),
        ]:
            with self.subTest(name):
                self.assertEqual(url_of(Sqlite(USUAL | {"NAME": name}, "default")), wanted)

    def test_without_a_name_it_is_refused(self) -> None:
        with self.assertRaisesMessage(ConfigurationError, "DATABASES['default']: "):
            arguments()

    def test_of_others_it_is_refused(self) -> None:
        with self.assertRaisesMessage(ConfigurationError, "the ledger needs PostgreSQL or SQLite; name the alias"):
            url_of(Dummy({"ENGINE": "django.db.backends.mysql"}, "default"))
