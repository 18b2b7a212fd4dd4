"""Events to and from other services: a folder for each kind of server, which a URL in EVENTS_BRIDGES names.

`contract` says what every bridge must do, and `tests/conformance/bridge` tests every bridge for it. `forwarding` is the
handler that sends, `receiving` the loop that receives, `cloudevents` the form in which events travel. The folders are
imported when a URL asks for them (`opening`), as some need a client that may not be installed.

May import: handling, tracing, hooks, ledger and the words below; `rabbitmq` also transport, for publisher confirms.
Open first: `contract`.
"""

from events.bridges.acceptance import Acceptance
from events.bridges.address import Address
from events.bridges.cloudevents import FLAT
from events.bridges.contract import AT_ONCE, HANDLER, Bridge, Features, Message, Publisher, Received, Scheme, Subscriber
from events.bridges.forms import REASONS
from events.bridges.forwarding import PATIENT, Forwarding, bridge_handlers, forwarded
from events.bridges.opening import accepted_by, configured, open_bridge, opened
from events.bridges.receiving import Receiver

__all__ = [
    "AT_ONCE",
    "FLAT",
    "HANDLER",
    "PATIENT",
    "REASONS",
    "Acceptance",
    "Address",
    "Bridge",
    "Features",
    "Forwarding",
    "Message",
    "Publisher",
    "Received",
    "Receiver",
    "Scheme",
    "Subscriber",
    "accepted_by",
    "bridge_handlers",
    "configured",
    "forwarded",
    "open_bridge",
    "opened",
]
