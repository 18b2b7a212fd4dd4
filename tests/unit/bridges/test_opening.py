"""The client of a bridge is loaded when a URL first names it, and missed with a word about the cure."""

import subprocess
import sys

import pytest

from events import ConfigurationError
from events.bridges import open_bridge
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


def test_whoever_has_no_bridge_loads_no_client() -> None:
    program = "import sys, events.cli, events.pipeline, events.bridges; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "events.bridges" in loaded
    assert not {"nats", "confluent_kafka", "urllib3", "amqp", "redis"} & set(loaded)
