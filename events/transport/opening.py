"""Opens the transport that the settings name."""

from events.relay import Transport
from events.settings import Settings
from events.transport.broker import BrokerTransport
from events.transport.memory import MemoryTransport


def open_transport(settings: Settings) -> Transport:
    """The transport that the settings name. It connects when it is first used."""
    return BrokerTransport(settings) if settings.broker_url else MemoryTransport()


def celery_broker_url(settings: Settings) -> str:
    """The URL that Celery connects to; without a broker, that of the memory of this process."""
    return settings.broker_url or MemoryTransport.URL
