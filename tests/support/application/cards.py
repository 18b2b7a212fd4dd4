"""`python -m cards URL`: sends a CardAdded after the other over a bridge, and prints what each subscriber should."""

import sys
import threading
from itertools import count

from events import DomainEvent
from events.bridges import open_bridge
from events.bridges.cloudevents import outgoing
from events.errors import TransportError
from events.settings.settings import Settings


class CardAdded(DomainEvent, aggregate_id="library"):
    library: str
    title: str


def main(url: str) -> None:
    publisher = open_bridge(url, Settings(broker_url=""))[1].publisher()
    for number in count():  # without end, as not every kind of bridge keeps what nobody listens to yet
        event = CardAdded(library="Arrakis", title=f"Dune {number}")
        print("CardAdded", event.event_id, event.library, event.title, flush=True)
        try:
            publisher.send([outgoing(event, "/library")])
        except TransportError as error:
            print(error, flush=True)
        threading.Event().wait(0.1)


if __name__ == "__main__":
    main(sys.argv[1])
