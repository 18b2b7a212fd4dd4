"""Settings: from the environment, with one line that names what is wrong, and never a password."""

import os
from datetime import timedelta
from urllib.parse import unquote

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from events import ConfigurationError
from events.settings import environment
from events.settings.environment import load_settings, setting_names
from events.settings.settings import Settings
from events.settings.urls import BROKERS
from events.text.redaction import redact


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_stand_ins", {})  # of an app that another test has installed
    for name in list(os.environ):
        if name.startswith("EVENTS_") or name in ("DATABASE_URL", "REDIS_URL", "AMQP_URL", "CLOUDAMQP_URL"):
            monkeypatch.delenv(name)


def test_the_defaults_need_nothing() -> None:
    settings = load_settings()
    assert (settings.database_url, settings.broker_url) == ("sqlite:///events.db", "")


def test_own_names_come_before_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@h/a")
    monkeypatch.setenv("REDIS_URL", "redis://h/1")
    assert load_settings().database_url == "postgresql+psycopg://u:p@h/a"
    assert load_settings().broker_url == "redis://h/1"
    monkeypatch.setenv("CLOUDAMQP_URL", "amqps://h/v")
    assert load_settings().broker_url == "amqps://h/v"
    monkeypatch.setenv("EVENTS_DATABASE_URL", "sqlite:///own.db")
    monkeypatch.setenv("EVENTS_BROKER_URL", "")
    assert (load_settings().database_url, load_settings().broker_url) == ("sqlite:///own.db", "")


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("60", 60), ("5m", 300), ("1.5h", 5400)])
def test_durations_have_units(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv("EVENTS_POLL_INTERVAL", text)
    assert load_settings().poll_interval == timedelta(seconds=seconds)


def test_handlers_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_HANDLERS", "shop, billing.handlers")
    assert load_settings().handlers == ("shop", "billing.handlers")


WRONG = {
    "database_url": "mysql://u:secret@h/a", "broker_url": "kafka://u:secret@h", "queue": "a b", "lease": "0.1s",
    "time_limit": "soon", "stale_after": "-1", "poll_interval": "0", "max_payload_bytes": "many", "listen": "perhaps",
    "relay": "on", "relay_batch": "0", "max_in_flight": "0", "rabbitmq_queue_type": "lazy", "broker_timeout": "x",
    "edit": "perhaps", "pool_size": "0", "handlers": "two words", "shutdown_timeout": "-5s", "watchdog": "never",
    "log_format": "xml", "forward": "OrderPlaced OrderPaid", "source": "my shop",
    "bridges": "redis+streams://u:secret@h, somewhere",
    "async_concurrency": "0", "async_connections": "0", "async_driver": "psycopg2",
    "http_port": "70000", "marked_by_others": "ignore", "ledger_schema": "My Ledger",
}  # fmt: skip


@pytest.mark.parametrize("field", sorted(WRONG))
def test_a_wrong_value_is_one_line_that_names_the_setting(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    name = setting_names()[field]
    monkeypatch.setenv(name, WRONG[field])
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    text = str(caught.value)
    assert text.startswith(f"{name}=")
    assert "\n" not in text
    assert "secret" not in text


def test_every_setting_has_a_wrong_value_above_and_a_description() -> None:
    assert set(WRONG) == set(setting_names())
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_the_variable_that_was_set_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "ftp://u:secret@h")
    with pytest.raises(ConfigurationError, match=f"^{name}=") as caught:
        load_settings()
    assert "secret" not in str(caught.value)


def test_a_misspelt_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_DATABSE_URL", "sqlite:///x.db")
    with pytest.raises(ConfigurationError, match=r"EVENTS_DATABSE_URL .*did you mean EVENTS_DATABASE_URL"):
        load_settings()


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:secret@h/a", "redis://:secret@h:1/0", "amqp://u:sec@ret@h//", "amqp://u:se/cr:et@h//x",
     "postgresql://h/a?password=secret"],
)  # fmt: skip
def test_no_password_is_ever_shown(url: str) -> None:
    assert "ret" not in redact(f"can't reach {url}")
    assert "secret" not in repr(Settings(database_url="postgresql://u:secret@h/a", broker_url="redis://:secret@h"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("watchdog", "1ms"), ("watchdog", "1.9s"), ("time_limit", "1ms"), ("lease", "999ms"), ("stale_after", "5ms"),
     ("poll_interval", "1ms"), ("broker_timeout", "1ms")],
)  # fmt: skip
def test_a_time_that_is_too_short_is_refused(monkeypatch: pytest.MonkeyPatch, field: str, value: str) -> None:
    monkeypatch.setenv("EVENTS_DATABASE_URL", "postgresql://h/a")
    monkeypatch.setenv(f"EVENTS_{field.upper()}", value)
    with pytest.raises(ConfigurationError, match=rf"^EVENTS_{field.upper()}='{value}': use at least [\d.]+s, or "):
        load_settings()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgresql://db1:5432,db2/shop", "postgresql+psycopg:///shop?host=db1%3A5432&host=db2"),
        ("postgres://u:a,b@db1,db2:1/s?sslmode=require",
         "postgresql+psycopg://u:a%2Cb@/s?host=db1&host=db2%3A1&sslmode=require"),
        ("postgresql://u:a,b@db1/s", "postgresql+psycopg://u:a%2Cb@db1/s"),
        ("postgresql://db1,db2", "postgresql+psycopg:///?host=db1&host=db2"),
        ("sqlite:///a,b.db", "sqlite:///a,b.db"),
    ],
)  # fmt: skip
def test_several_hosts_are_read_as_libpq_reads_them(given: str, read: str) -> None:
    assert make_url(Settings(database_url=given).database_url) == make_url(read)


@pytest.mark.parametrize(
    ("field", "value"),
    [*sorted(WRONG.items()), ("database_url", "nonsense"), ("database_url", "sqlite://"), ("broker_url", "nonsense"),
     *(("broker_url", f"{scheme}:///") for scheme in BROKERS)],
)  # fmt: skip
def test_a_cure_can_be_read_where_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch, field: str, value: str) -> None:
    # Given what is said of a wrong value, which the commands redact as all that they say
    monkeypatch.setenv(setting_names()[field], value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    # Then nothing of the cure is taken for a password
    assert redact(str(caught.value)) == str(caught.value)


@pytest.mark.parametrize("number", ["abc", "0x", "1/", "-1", "0/1", "jobs?ssl_cert_reqs=none"])
@pytest.mark.parametrize("begin", ["redis://h/", "rediss://u:p%2Fw@h:1/", "redis://:p@h//"])
def test_a_database_of_redis_is_a_number(begin: str, number: str) -> None:
    with pytest.raises(ValidationError, match=r"is no number of a database; use rediss?://host:6379/0"):
        Settings(broker_url=f"{begin}{number}")


@pytest.mark.parametrize(
    "url",
    ["redis://h", "redis://h/", "redis://h//", "redis://h/1", "redis://h//1", "redis://h/%31", "redis://h:1/15?a=/b@c",
     "rediss://h?ssl_cert_reqs=none", "redis://:p@h/ 1", "redis://h1/0;redis://h2/0", "amqp://h/abc", "amqps://h//x"],
)  # fmt: skip
def test_what_kombu_reads_as_a_database_is_taken(url: str) -> None:
    assert unquote(Settings(broker_url=url).broker_url) == unquote(url)


@pytest.mark.parametrize("begin", ["postgresql://u:top@sec", "postgres://u:top@sec@", "mysql://u@x:top@sec"])
@pytest.mark.parametrize("end", ["/ret@127.0.0.1:5432/shop", "ret@h/shop?sslmode=require", "?ret@h/shop", " ret@h"])
@pytest.mark.parametrize("name", ["EVENTS_DATABASE_URL", "DATABASE_URL"])
def test_a_password_that_has_an_at_sign_is_refused_and_nothing_of_it_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, begin: str, end: str
) -> None:
    monkeypatch.setenv(name, begin + end)
    with pytest.raises(ConfigurationError, match=f"^{name}=.*has more than one '@': write .* as %40") as caught:
        load_settings()
    assert not [part for part in ("top", "sec", "ret") if part in str(caught.value)]


@pytest.mark.parametrize(
    ("url", "password", "host"),
    [("postgresql://u:p%40w@h/a", "p@w", "h"), ("postgresql://u:p/w@h/a", "p/w", "h"),
     ("postgresql://u@server:p@h/a", "p", "h"), ("postgresql://u@h/a?password=p@w", None, "h"),
     ("postgresql://u:p?w@h", "p?w", "h"), ("postgresql://h/a@b", None, "h")],
)  # fmt: skip
def test_what_sqlalchemy_reads_as_it_is_meant_is_taken(url: str, password: str | None, host: str) -> None:
    read = make_url(Settings(database_url=url).database_url)
    assert (read.password, read.host) == (password, host)


def test_a_path_of_a_file_may_have_signs() -> None:
    assert make_url(Settings(database_url="sqlite:////a@b/c@d.db").database_url).database == "/a@b/c@d.db"
