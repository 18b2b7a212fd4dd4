"""The client of a bridge is loaded when a URL first names it, and missed with a word about the cure."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

from events import ConfigurationError
from events.bridges import open_bridge, opening
from events.bridges.address import Address
from events.bridges.contract import Features, Scheme
from events.contract.routes import routes_of
from events.settings.settings import Settings

CLIENTS = {"nats": "nats", "nats+jetstream": "nats", "kafka": "confluent_kafka", "https": "urllib3"}
EXTRAS = {"nats": "nats", "confluent_kafka": "kafka", "urllib3": "http"}


@pytest.mark.parametrize("scheme", CLIENTS)
def test_a_missing_client_is_named_with_its_extra(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a machine without the client
    client = CLIENTS[scheme]
    for loaded in [name for name in sys.modules if name.startswith(("events.bridges.", client))]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, client, None)
    # When a bridge needs it, then the complaint names the bridge and the extra, and no password
    with pytest.raises(ConfigurationError) as missing:
        open_bridge(f"{scheme}://user:hidden@h", Settings(broker_url=""))
    assert f"its client is not installed: pip install 'celery-domain-events[{EXTRAS[client]}]'" in str(missing.value)
    assert f"{scheme}://" in str(missing.value)
    assert "hidden" not in str(missing.value)


class Pigeons:
    """A bridge of another package."""

    features = Features(headers=False)
    schemes: ClassVar[dict[str, Scheme]] = {"pigeon": Scheme("pigeon", tls=True)}
    options = frozenset({"loft"})
    attribute_prefix = ""

    def __init__(self, address: Address) -> None:
        self.loft = address.options["loft"]

    def address(self, event_type: str) -> str:
        return f"{self.loft}/{event_type}"

    def bindings(self, _event_type: str) -> dict[str, Any]:
        return {}

    def publisher(self) -> Any:
        raise NotImplementedError

    def subscriber(self, wanted: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def other_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is installed, and names its bridges as packages do."""
    found = [EntryPoint(scheme, f"{__name__}:Pigeons", "events.bridges") for scheme in ("pigeon", "dove")]
    monkeypatch.setattr(opening, "entry_points", lambda group: [one for one in found if one.group == group])


@pytest.mark.usefixtures("other_package")
def test_a_bridge_of_another_package_says_all_about_itself() -> None:
    (route,) = routes_of(Settings(broker_url="", bridges=("pigeon://h/?loft=north",)))
    assert (route.protocol, route.place("A").address, route.headers) == ("pigeon", "north/A", None)


@pytest.mark.usefixtures("other_package")
def test_a_bridge_that_does_not_know_its_scheme_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"Pigeons lacks dove in schemes; see events\.bridges\.Bridge"):
        open_bridge("dove://h", Settings(broker_url=""))


@pytest.mark.usefixtures("other_package")
@pytest.mark.parametrize(
    "lacks", ["features", "schemes", "options", "attribute_prefix", "address", "bindings", "publisher", "subscriber"]
)
def test_a_bridge_that_lacks_what_bridges_have_is_refused(lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a bridge of another package that is of an older version of ours
    monkeypatch.delattr(Pigeons, lacks)
    # When a URL names it, then it is refused before anything is sent, and what it lacks is named
    with pytest.raises(ConfigurationError, match=rf"Pigeons lacks {lacks}; see events\.bridges\.Bridge"):
        open_bridge("pigeon://h/?loft=north", Settings(broker_url=""))


def test_whoever_has_no_bridge_loads_no_client() -> None:
    program = "import sys, events.cli, events.pipeline, events.bridges; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "events.bridges" in loaded
    assert not {"nats", "confluent_kafka", "urllib3", "amqp", "redis"} & set(loaded)
