"""No secret of a URL is left in a text, wherever the URL stands in it; and what is no secret is."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from events.bridges.address import wrong
from events.errors import ConfigurationError
from events.settings.environment import load_settings
from events.text.redaction import brief, redact

SCHEMES = ("postgresql", "postgresql+psycopg", "redis", "rediss", "amqp", "amqps", "redis+streams", "nats",
           "nats+tls+jetstream", "rabbitmq+topic", "kafka", "kafka+tls", "http", "https")  # fmt: skip
SECRETS = (
    "password", "sslpassword", "PASSWORD", "token", "secret", "sasl.password", "ssl.key.password", "ssl.key.pem",
    "ssl.keystore.password", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config", "api_key", "apikey",
    "API-Key", "key", "code", "sig", "signature", "X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Credential",
    "access_token", "accessToken", "AWSAccessKeyId", "SharedAccessSignature", "client_secret", "refresh_token", "auth",
    "jwt", "psk", "tls-psk", "pre_shared_key", "bearer", "bearerAuth", "pwd",
    "passphrase", "pass%77ord", "to%6Ben", "sas", "hmac",
)  # fmt: skip
OURS = ("name=orders", "direction=both", "forward=A,B", "format=flat", "prefix=events", "group=shop", "redeliver=60s",
        "stream=all", "topic=all", "maxlen=1000", "limit=10", "per_peer=64", "sslmode=require", "ca=/etc/ca.pem",
        "sasl.mechanism=PLAIN", "connect_timeout=5", "application_name=shop")  # fmt: skip

_RAW = "aZ09-._~!$()*+,;:/?#[]@%&=^|"  # as somebody writes it who doesn't encode it
_IN_QUERY = _RAW.replace("&", "")  # which begins the next parameter
secrets = st.text(min_size=6, max_size=30).filter(lambda text: not text.isspace())
encoded = secrets.map(lambda text: quote(text, safe="")).filter(lambda text: len(text) > 5 and "***" not in text)


def raw(letters: str) -> st.SearchStrategy[str]:
    return st.text(letters, min_size=6, max_size=30).filter(lambda text: "://" not in text and "***" not in text)


texts = st.sampled_from([
    "{}", "can't reach {}: refused", "'{}'", '{{"url": "{}", "n": 1}}', '{{"url":"{}","mail":"a@b"}}', "({})", "<{}>",
    "[{}]", "x={}", "two {} and {}", "first line\n{}\nlast", "\\n{}\\n", "EVENTS_BRIDGES='redis://h,{}'", "URL:{}", "{},nats://h",
    "{} https://other.example/a@b", "https://other.example/?x=1 {}",
])  # fmt: skip


@given(texts, st.sampled_from(SCHEMES), st.sampled_from(["", "u", "shop"]), encoded | raw(_RAW))
def test_no_password_of_user_info_survives(text: str, scheme: str, user: str, secret: str) -> None:
    is_hidden(secret, lambda it: text.replace("{}", f"{scheme}://{user}:{it}@host:1234/path?name=orders"))


@given(texts, st.sampled_from(["nats", "nats+jetstream", "http", "https", "redis"]), encoded)
def test_no_user_that_is_a_token_survives(text: str, scheme: str, token: str) -> None:
    for end in ("", ":"):
        is_hidden(token, lambda it, end=end: text.replace("{}", f"{scheme}://{it}{end}@host:1/?name=orders"))  # type: ignore[misc]


@given(
    texts, st.sampled_from(SCHEMES), st.sampled_from(SECRETS), encoded | raw(_IN_QUERY),
    st.lists(st.sampled_from(OURS)), st.lists(st.sampled_from(OURS)), st.sampled_from(["", "u:p@", "u@"]),
)  # fmt: skip
def test_no_secret_parameter_survives(
    text: str, scheme: str, name: str, secret: str, before: list[str], after: list[str], user: str
) -> None:
    def made(it: str) -> str:
        return text.replace("{}", f"{scheme}://{user}host/path?{'&'.join([*before, f'{name}={it}', *after])}")

    is_hidden(secret, made)


@given(texts, st.sampled_from(SCHEMES), st.sampled_from(["u:{}@h", "u:p@h/?a=1&token={}"]), encoded, st.integers(1, 2))
def test_none_survives_where_slashes_are_escaped(text: str, scheme: str, rest: str, secret: str, times: int) -> None:
    # as JSON of PHP has them, or JSON within JSON
    slash = "\\" * times + "/"
    is_hidden(secret, lambda it: text.replace("{}", f"{scheme}://{rest.format(it)}/path".replace("/", slash)))


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("sign", [*",:;)]}", "),", "}{", "@", "x"])
@pytest.mark.parametrize("url", ["postgresql://u:{}@h/db", "nats://u:{}@h,nats://h2", "https://h/?token={}&b=1"])
@pytest.mark.parametrize("text", ["{}", "can't reach {}: refused", "'{}'", '{{"url": "{}", "n": 1}}', "({}, 1)"])
def test_a_quote_in_a_secret_does_not_end_it(text: str, url: str, sign: str, quote: str) -> None:
    shown = redact(text.replace("{}", url.replace("{}", f"first{quote}{sign}last")))
    assert "first" not in shown
    assert "last" not in shown


@given(encoded, st.sampled_from(SECRETS))
def test_none_survives_where_settings_complain(secret: str, name: str) -> None:
    assume(secret not in str(wrong(f"nats://h/?{name}=", f"{name}=", "no")))
    assert secret not in str(wrong(f"nats://h/?{name}={secret}", f"{name}={secret}", "no"))


def is_hidden(secret: str, made: Callable[[str], str]) -> None:
    assume(secret not in made(""))  # by chance
    assert secret not in redact(made(secret))


@pytest.mark.parametrize(
    "url", [f"{scheme}://host:1234/path?{'&'.join(OURS)}" for scheme in SCHEMES] + ["postgresql://me@host/shop",
        "amqp://guest@host//", "https://example.com/users/@me", "https://example.com/?mail=a@b.c", "sqlite:///events.db"]
)  # fmt: skip
def test_what_is_no_secret_stays(url: str) -> None:
    assert redact(f"can't reach {url}: refused") == f"can't reach {url}: refused"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:s@h/a?sslmode=require", "postgresql://u:***@h/a?sslmode=require"),
        ("nats://tok@h:4222", "nats://***@h:4222"),
        ("https://sk_live:@h/x", "https://***@h/x"),
        ("kafka://u:s@h1,h2?sasl.password=x&topic=t", "kafka://u:***@h1,h2?sasl.password=***&topic=t"),
        ("nats://u:a@h1,nats://v:b@h2", "nats://u:***@h1,nats://v:***@h2"),
        ("amqp://u:se/cr:et@h//x", "amqp://u:***@h//x"),
        ('{"url":"redis://u:s@h","mail":"a@b"}', '{"url":"redis://u:***@h","mail":"a@b"}'),
        ("see 'http://h/?token=abc', please", "see 'http://h/?token=***', please"),
        ("http://h/#access_token=abc", "http://h/#access_token=***"),
        ("http://h/?a=1&amp;token=abc", "http://h/?a=1&amp;token=***"),
        ("no URL: a=b, mail a@b", "no URL: a=b, mail a@b"),
        ("x 'redis://u:s@h','a@b' y", "x 'redis://u:***@h','a@b' y"),
        ('{"a":["http://h/?token=abc"],"b":"c"}', '{"a":["http://h/?token=***"],"b":"c"}'),
        ('{"a":"http://h/?token=abc"}{"b":"c"}', '{"a":"http://h/?token=***"}{"b":"c"}'),
        (r'{"a":"https:\/\/u:s@h\/x","b":"c@d"}', r'{"a":"https:\/\/u:***@h\/x","b":"c@d"}'),
        (r"https:\/\/example.com\/users\/@me", r"https:\/\/example.com\/users\/@me"),
        (r'{"a":"https://h/?b=1\u0026token=abc"}', r'{"a":"https://h/?b=1\u0026token=***"}'),
    ],
)
def test_what_is_left_can_be_read(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_what_was_cut_is_seen_to_be() -> None:
    assert brief("a" * 300) == "a" * 300
    assert brief("a" * 301) == "a" * 299 + "…"


def test_half_a_url_is_no_url() -> None:
    assert "secret" not in brief(f"{'a' * 280} redis://u:secret-that-is-long@h\nmore", 300)


def _set(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for one in ("DATABASE_URL", "REDIS_URL", "AMQP_URL", "CLOUDAMQP_URL", "EVENTS_DATABASE_URL", "EVENTS_BROKER_URL"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVENTS_DATABASE_URL", "mysql://u:my secret word@h/a"),
        ("EVENTS_BROKER_URL", "kafka://u:my secret word@h"),
        ("EVENTS_BRIDGES", "https://h/?token=my secret word"),
        ("EVENTS_BRIDGES", "nats://u:my secret word@h"),
    ],
)
def test_a_space_in_a_wrong_url_does_not_end_its_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    _set(monkeypatch, name, value)
    with pytest.raises(ConfigurationError) as wrong:
        load_settings()
    assert not {"my", "secret", "word"} & set(str(wrong.value).replace("%20", " ").replace("@", " ").split())


@pytest.mark.parametrize(
    ("name", "value"),
    [("EVENTS_DATABASE_URL", "postgresql://u:my secret@h/a"), ("EVENTS_BROKER_URL", "redis://u:my secret@h/0"),
     ("EVENTS_BROKER_URL", "amqp://u:my secret@h//")],
)  # fmt: skip
def test_nor_does_it_in_a_right_one(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    _set(monkeypatch, name, value)
    settings = load_settings()
    for url in (settings.database_url, settings.broker_url):
        assert "secret" not in redact(url)
        assert not url or "u:my%20secret@" in url or "sqlite" in url
