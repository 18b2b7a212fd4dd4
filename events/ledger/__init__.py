"""The words for what is stored, and the contracts that a store keeps. No SQL stands here.

- Events as rows: `envelope`, `codec`, `identity`, `json_text`, `masking`.
- Deliveries, their states and the outcomes of attempts: `records`, `outcome`.
- What operators see and do: `dead_letters`, `parked`, `history`, `overview`, `pruned`.
- The contracts, by who asks: `publisher_ports`, `relay_ports`, `worker_ports`, `operator_ports`.

May import: the words of the root (event, errors), definition, text. Open first: `records`, which draws the states.
"""

from events.ledger.codec import decode, encode
from events.ledger.dead_letters import DeadLetter, DeadLetterFilter, FailureGroup, Survey
from events.ledger.envelope import Envelope
from events.ledger.history import (
    Action,
    ActionRecord,
    AttemptRecord,
    DeliveryRecord,
    EventFilter,
    EventRecord,
    Found,
    timeline,
)
from events.ledger.identity import (
    CAUSE_SENT_AS,
    SENT_AS,
    as_uuid,
    check_repeat,
    differences,
    former_id,
    placed_id,
    received_id,
    sender_of,
)
from events.ledger.json_text import NUL, merged, object_of
from events.ledger.masking import KEY, mask, mask_foreign, masked_letters, without
from events.ledger.operator_ports import (
    DeadLetterBox,
    History,
    Lineage,
    Overviews,
    ParkingLot,
    Retention,
    Switches,
    Unhandled,
)
from events.ledger.outcome import Outcome, Result, described, failure_of, failure_without_trace, line_of
from events.ledger.overview import (
    LATELY,
    EventMetrics,
    HandlerMetrics,
    MarkedByOthers,
    Orphan,
    Overview,
    UnhandledType,
    retire_command,
)
from events.ledger.parked import Parked, ParkedFilter, ParkedState
from events.ledger.pruned import Pruned
from events.ledger.publisher_ports import EventLog
from events.ledger.records import (
    ALIVE,
    ALONG_WITHIN,
    GROUP_TIME,
    HELD,
    ONE_BY_ONE,
    Claim,
    Due,
    Express,
    Failure,
    FannedOut,
    Group,
    Handled,
    Mark,
    Missing,
    Pace,
    Settled,
    State,
    Subscription,
    Wakeup,
    WorkerInfo,
)
from events.ledger.relay_ports import Arriving, DueDeliveries, Listener, Outbox, Recovery
from events.ledger.traces import Carrier, Traces
from events.ledger.unwrapping import unwrapped, unwrapped_value
from events.ledger.worker_ports import Awaited, Inbox, Shared, Subscriptions, WorkerRegistry

__all__ = [
    "ALIVE",
    "ALONG_WITHIN",
    "CAUSE_SENT_AS",
    "GROUP_TIME",
    "HELD",
    "KEY",
    "LATELY",
    "NUL",
    "ONE_BY_ONE",
    "SENT_AS",
    "Action",
    "ActionRecord",
    "Arriving",
    "AttemptRecord",
    "Awaited",
    "Carrier",
    "Claim",
    "DeadLetter",
    "DeadLetterBox",
    "DeadLetterFilter",
    "DeliveryRecord",
    "Due",
    "DueDeliveries",
    "Envelope",
    "EventFilter",
    "EventLog",
    "EventMetrics",
    "EventRecord",
    "Express",
    "Failure",
    "FailureGroup",
    "FannedOut",
    "Found",
    "Group",
    "Handled",
    "HandlerMetrics",
    "History",
    "Inbox",
    "Lineage",
    "Listener",
    "Mark",
    "MarkedByOthers",
    "Missing",
    "Orphan",
    "Outbox",
    "Outcome",
    "Overview",
    "Overviews",
    "Pace",
    "Parked",
    "ParkedFilter",
    "ParkedState",
    "ParkingLot",
    "Pruned",
    "Recovery",
    "Result",
    "Retention",
    "Settled",
    "Shared",
    "State",
    "Subscription",
    "Subscriptions",
    "Survey",
    "Switches",
    "Traces",
    "Unhandled",
    "UnhandledType",
    "Wakeup",
    "WorkerInfo",
    "WorkerRegistry",
    "as_uuid",
    "check_repeat",
    "decode",
    "described",
    "differences",
    "encode",
    "failure_of",
    "failure_without_trace",
    "former_id",
    "line_of",
    "mask",
    "mask_foreign",
    "masked_letters",
    "merged",
    "object_of",
    "placed_id",
    "received_id",
    "retire_command",
    "sender_of",
    "timeline",
    "unwrapped",
    "unwrapped_value",
    "without",
]
