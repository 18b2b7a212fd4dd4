"""Somebody whom events are for, where a server keeps nothing else: the queue that an exchange sends them to."""

from events.bridges import Address, Bridge


def listened_to(address: Address, bridge: Bridge) -> tuple[Address, Bridge]:
    """The same, of which a subscriber has been there once."""
    if not bridge.features.retained and bridge.features.durable:
        subscriber = bridge.subscriber(lambda: ["Bridged"])
        subscriber.receive(0.1)
        subscriber.close()
    return address, bridge
