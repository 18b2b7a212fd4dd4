"""A database that refuses us, each time for another reason: one line, with the cure, from whoever meets it."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import shop
from events import ConfigurationError, PublishError, publish, publish_async
from events.current_pipeline import use_pipeline
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store import check_schema, migrate
from events.store.database.engine import make_engine
from events.store.database.listener import NOTIFY, PostgresListener
from support.databases import migrated_postgres
from support.operator import events
from support.private_servers import free_port
from support.roles import Role, role_in
from support.servers import PostgresDatabase, own_server
from support.system import System
from support.waiting import eventually

GRANT = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
READ_ONLY = "it is a standby, so name the primary; or {role} or the database has default_transaction_read_only"


@pytest.fixture
def newcomer() -> Iterator[Role]:
    """In an empty database."""
    yield from role_in(PostgresDatabase())


@pytest.fixture
def guest() -> Iterator[Role]:
    """In one with a ledger."""
    yield from role_in(PostgresDatabase(migrated_postgres()))


def refused(url: str, *, migrating: bool = False) -> str:
    """What is said to whoever migrates, or only looks whether all is well."""
    engine = make_engine(Settings(database_url=url, broker_url=""))
    with pytest.raises(ConfigurationError) as caught:
        (migrate if migrating else check_schema)(engine)
    engine.dispose()
    said = str(caught.value)
    assert "\n" not in said
    return said


def published(url: str, count: int = 1, **settings: str) -> None:
    """In a transaction of their own."""
    pipeline = Pipeline(Settings(database_url=url, broker_url="", **settings))  # type: ignore[arg-type]
    try:
        pipeline.publisher.publish([shop.OrderPlaced(order=f"o-{number}") for number in range(count)])
    finally:
        pipeline.close()


def published_within(url: str, driver: str) -> None:
    """In a transaction of the caller's."""
    engine_url = make_url(url).set(drivername=f"postgresql+{driver}")
    pipeline = Pipeline(Settings(database_url=url, broker_url=""))
    use_pipeline(pipeline)

    async def in_async() -> None:
        engine = create_async_engine(engine_url)
        try:
            async with engine.begin() as connection:
                await publish_async(shop.OrderPlaced(order="o-1"), session=connection)
        finally:
            await engine.dispose()

    try:
        if driver == "asyncpg":
            asyncio.run(in_async())
        else:
            with create_engine(engine_url, poolclass=NullPool).begin() as connection:
                publish(shop.OrderPlaced(order="o-1"), session=connection)
    finally:
        use_pipeline(None)
        pipeline.close()


def test_a_role_that_may_make_no_tables_is_told_what_to_grant(newcomer: Role) -> None:
    said = refused(newcomer.url, migrating=True)
    assert "permission denied for schema public; " in said
    assert f"GRANT USAGE, CREATE ON SCHEMA public TO {newcomer.name}; or run `events migrate` as a role" in said


def test_a_role_that_may_not_touch_the_tables_is_told_what_to_grant(guest: Role) -> None:
    assert refused(guest.url).endswith("; " + GRANT.format(role=guest.name))
    # And if it may not even look into the schema
    guest.say("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    guest.say(f"ALTER ROLE {guest.name} SET search_path = public")
    said = events("migrate", environment={"EVENTS_DATABASE_URL": guest.url}).stderr
    assert "GRANT USAGE, CREATE ON SCHEMA NAME TO" in said
    assert said.count("\n") == 1


def test_a_role_that_may_only_read_is_told_so(newcomer: Role) -> None:
    newcomer.say(f"ALTER ROLE {newcomer.name} SET default_transaction_read_only = on")
    newcomer.say(f"GRANT ALL ON SCHEMA public TO {newcomer.name}")
    assert refused(newcomer.url, migrating=True).endswith("; " + READ_ONLY.format(role=newcomer.name))


def test_a_worker_that_may_only_look_ends_with_one_line(guest: Role, tmp_path: Path) -> None:
    guest.say(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {guest.name}")
    with System("sqlite", tmp_path).in_use() as system:
        worker = system.start(["celery", "-A", "events", "worker", "-P", "solo"], database_url=guest.url)
        assert worker.exit_code() == 1
        said = worker.log.read_text()
        assert "Traceback" not in said
        assert f"permission denied for table event_subscriptions; {GRANT.format(role='its role')}\n" in said


@pytest.mark.parametrize("refusal", ["rights", "read-only"])
def test_a_worker_that_loses_its_rights_says_what_to_do(guest: Role, tmp_path: Path, refusal: str) -> None:
    guest.say(GRANT.format(role=guest.name))
    with System("sqlite", tmp_path).in_use() as system:
        # Given a worker that runs
        worker = system.start(["celery", "-A", "events", "worker", "-P", "solo"], database_url=guest.url)
        worker.wait_for("ready.")
        # When its role may no longer touch the tables, or only read
        if refusal == "rights":
            guest.say(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {guest.name}")
            cure = GRANT.format(role=guest.name)
        else:
            guest.say(f"ALTER ROLE {guest.name} SET default_transaction_read_only = on")
            guest.say(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{guest.name}'")
            cure = READ_ONLY.format(role=guest.name)

        def lines_with_the_cure(begin: str) -> bool:
            return any(begin in line and f"; {cure}" in line for line in worker.log.read_text().splitlines())

        # Then its relay says what to do about that, and so does what tells the ledger that it lives
        for begin in ("relay: ", "can't tell the ledger that this worker lives: "):
            eventually(lambda begin=begin: lines_with_the_cure(begin), f"the cure is told: {begin}")  # type: ignore[misc]


@pytest.mark.parametrize("count", [1, 3])
def test_a_publisher_that_may_only_read_is_told_that_nothing_was_stored(
    guest: Role, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.store.event_log._IN_DOUBT", 0.5)
    guest.may("SELECT, INSERT ON event_store")
    guest.say(f"ALTER ROLE {guest.name} SET default_transaction_read_only = on")
    # When it publishes, then it isn't left in doubt: each try was refused
    with pytest.raises(PublishError) as caught:
        published(guest.url, count)
    said = str(caught.value)
    assert "nothing was stored: cannot execute INSERT in a read-only transaction; " in said
    assert said.endswith("; " + READ_ONLY.format(role=guest.name))


@pytest.mark.parametrize("driver", ["", "psycopg", "asyncpg"], ids=["alone", "within", "within, async"])
def test_a_publisher_without_rights_is_told_what_to_grant(guest: Role, driver: str) -> None:
    # Given a role that may not even insert
    grant = f"GRANT SELECT, INSERT ON event_store TO {guest.name}"
    with pytest.raises(PublishError) as caught:
        published_within(guest.url, driver) if driver else published(guest.url)
    # Then it is told so, with what the database said below that
    assert str(caught.value) == f"the events were not stored: permission denied for table event_store; {grant}"
    assert isinstance(caught.value.__cause__, ProgrammingError)
    # And that is enough
    guest.say(grant)
    published_within(guest.url, driver) if driver else published(guest.url)


def test_rights_to_publish_are_named_in_the_schema_of_the_ledger(newcomer: Role) -> None:
    # Given a ledger in a schema of its own, and a role that may not look into that
    theirs = Pipeline(Settings(database_url=newcomer.owner, broker_url="", ledger_schema="ledger"))
    theirs.migrate()
    theirs.close()
    grants = f"GRANT USAGE ON SCHEMA ledger TO {newcomer.name}", 'GRANT SELECT, INSERT ON "ledger".event_store TO '
    for missing in ("; ".join(grants), grants[1]):
        with pytest.raises(PublishError) as caught:
            published(newcomer.url, ledger_schema="ledger")
        assert str(caught.value).endswith(f"; {missing}{newcomer.name}")
        newcomer.say(grants[0])
    newcomer.say(grants[1] + newcomer.name)
    published(newcomer.url, ledger_schema="ledger")


def test_what_a_trigger_may_not_is_not_taken_for_our_own(guest: Role) -> None:
    guest.may("SELECT, INSERT ON event_store")
    guest.say("CREATE TABLE audit (id uuid)")
    guest.say("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
              "$$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END $$")  # fmt: skip
    guest.say("CREATE TRIGGER note AFTER INSERT ON event_store FOR EACH ROW EXECUTE FUNCTION note()")
    with pytest.raises(ProgrammingError, match="permission denied for table audit"):
        published(guest.url)


def test_doctor_names_rights_that_are_missing(guest: Role) -> None:
    guest.say(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {guest.name}")
    environment = {"EVENTS_DATABASE_URL": guest.url, "EVENTS_HANDLERS": "colorsys"}
    done = events("doctor", "--json", environment=environment)
    assert done.returncode == 1
    assert f"{guest.name} may not DELETE event_" in done.stdout
    assert "DELETE event_store" in done.stdout
    assert "INSERT event_store" not in done.stdout
    assert GRANT.format(role=guest.name) in done.stdout
    guest.say(f"ALTER ROLE {guest.name} SET default_transaction_read_only = on")
    assert "unset default_transaction_read_only" in events("doctor", "--json", environment=environment).stdout


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"database": "nothing_here"}, "make it: createdb nothing_here; or mend the name"),
        ({"username": "nobody_here"}, "check the user in it, or make that role: createuser nobody_here"),
        ({"host": "nowhere.invalid"}, "check the name of the host in it"),
        ({"port": 1}, "check the address, and that it runs"),
        ({"query": {"sslmode": "require"}}, "check sslmode in it"),
        ({"query": {"sslmode": "nonsense"}}, "check sslmode in it"),
        ({"query": {"connect_timeout": "soon"}}, "mend the option connect_timeout in it"),
        ({"query": {"keepalives_idle": "long"}}, "mend the option keepalives_idle in it"),
        ({"query": {"channel_binding": "x"}}, "mend the option channel_binding in it"),
        ({"query": {"options": "-cno_such_thing=1"}}, "mend the option no_such_thing in it"),
    ],
)
def test_an_address_that_is_wrong_has_its_own_cure(newcomer: Role, changes: dict[str, object], cure: str) -> None:
    url = make_url(newcomer.url).set(**changes)  # type: ignore[arg-type]
    assert refused(url.render_as_string(hide_password=False)).endswith(f"; {cure}")


def test_a_role_that_may_not_log_in_is_told_so(newcomer: Role) -> None:
    newcomer.say(f"ALTER ROLE {newcomer.name} NOLOGIN")
    assert refused(newcomer.url).endswith(f"; ALTER ROLE {newcomer.name} LOGIN; or check the user in it")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_search_path_that_leads_nowhere_is_mended_or_its_schema_made(newcomer: Role, is_there: bool) -> None:
    # Given a search_path that names a schema that isn't there, or isn't open to this role
    name = "closed" if is_there else "missing"
    if is_there:
        newcomer.say(f"CREATE SCHEMA {name}")
    newcomer.say(f"ALTER ROLE {newcomer.name} SET search_path = {name}")
    said = refused(newcomer.url, migrating=True)
    # Then it is told both
    assert "no schema has been selected to create in; make the schema that the search_path names, or mend that" in said
    assert said.endswith(f"GRANT USAGE, CREATE ON SCHEMA NAME TO {newcomer.name}")


def test_a_wrong_password_has_its_own_cure() -> None:
    with own_server("postgres") as machine:
        # Given a server that asks for passwords
        with psycopg.connect(machine.url, autocommit=True) as connection:
            connection.execute("ALTER ROLE postgres PASSWORD 'right'")
            (rules,) = connection.execute("SHOW hba_file").fetchone() or ("",)
            Path(rules).write_text("host all all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        url = make_url(machine.url)

        def asks() -> bool:
            try:
                psycopg.connect(machine.url).close()
            except psycopg.OperationalError:
                return True
            return False

        eventually(asks, "it asks for one")
        # Then who has none, or a wrong one, is told what to look at
        assert refused(machine.url).endswith("; check the user and the password in it")
        said = refused(url.set(password="wrong").render_as_string(hide_password=False))
        assert said.endswith("; check the user and the password in it")
        assert "wrong" not in said


@pytest.mark.parametrize(
    ("option", "cure"),
    [
        ("foo=1", "'foo' is no option of a connection to PostgreSQL; remove it"),
        ("sslmod=require", "did you mean sslmode?"),
        ("ssl=true", "say sslmode=require"),
        ("schema=shop", "for a schema say options=-csearch_path%3DNAME"),
        ("pgbouncer=true", "behind PgBouncer in transaction mode set EVENTS_LISTEN=off"),
        ("prepare_threshold=0", "behind PgBouncer in transaction mode set EVENTS_LISTEN=off"),
    ],
)
def test_an_option_that_is_none_is_refused_before_anybody_connects(option: str, cure: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^EVENTS_DATABASE_URL: ") as caught:
        make_engine(Settings(database_url=f"postgresql://nobody:secret@127.0.0.1:1/x?{option}", broker_url=""))
    assert str(caught.value).endswith(cure)
    assert "secret" not in str(caught.value)


def test_an_sqlite_file_has_no_options_of_others() -> None:
    with pytest.raises(ConfigurationError, match="'foo' is no option of an SQLite file; remove it"):
        make_engine(Settings(database_url="sqlite:///x.db?foo=1", broker_url=""))


@pytest.mark.parametrize("option", ["connect_timeout=7", "application_name=shop", "keepalives_idle=3"])
def test_options_that_we_set_too_are_the_users_and_events_are_heard_of(guest: Role, option: str) -> None:
    url = f"{guest.url.replace(guest.name, 'postgres')}?{option}"
    engine = make_engine(Settings(database_url=url, broker_url=""))
    listener = PostgresListener(engine)
    try:
        # When somebody who listens is told
        assert not listener.wait(timedelta(milliseconds=1))
        with engine.begin() as connection:
            connection.exec_driver_sql(NOTIFY)
            told = connection.scalar(text("SHOW application_name"))
        # Then it hears of it
        assert listener.wait(timedelta(seconds=60))
        # And the option is what the user said
        assert told == ("shop" if "shop" in option else "events")
    finally:
        listener.close()
        engine.dispose()


@pytest.mark.parametrize("more", ["", "?target_session_attrs=read-write"])
def test_several_hosts_may_stand_in_the_url_as_in_libpqs(newcomer: Role, more: str) -> None:
    # Given a URL that names a machine that is gone, and one that is there
    url = make_url(newcomer.url)
    pipeline = Pipeline(
        Settings(
            database_url=f"postgresql://postgres@127.0.0.1:{free_port()},{url.host}:{url.port}/{url.database}{more}",
            broker_url="",
        )
    )
    # Then the one that is there is used
    assert pipeline.migrate()
    pipeline.close()
