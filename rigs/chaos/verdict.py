"""Compares what the producers say they committed with what the handlers did; the package only names dead letters."""

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from rigs.chaos.application import FOLLOWS, HOPELESS, SIGNS, TENANTED, expected
from rigs.chaos.tables import is_odd

SENT = "sends"  # see rigs.chaos.plain, an application that this program must not become

Key = tuple[str, str]  # event id, handler


@dataclass
class Verdict:
    """Violations by invariant, and figures about the run."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    ghost: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return not (self.lost or self.duplicated or self.stuck or self.ghost or self.leaked)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"holds": self.holds}


@dataclass
class Said:
    """What the producers' files say, by event id."""

    kinds: dict[str, str] = field(default_factory=dict)
    committed: dict[str, float] = field(default_factory=dict)
    rolled_back: set[str] = field(default_factory=set)

    @property
    def in_doubt(self) -> set[str]:
        return set(self.kinds) - set(self.committed) - self.rolled_back


def read_producers(files: Iterable[Path]) -> Said:
    said = Said()
    for file in files:
        for line in file.read_text().splitlines():
            verb, event_id, kind, *rest = line.split()
            said.kinds[event_id] = kind
            if verb == "committed":
                said.committed[event_id] = float(rest[0])
            elif verb == "rolled-back":
                said.rolled_back.add(event_id)
    return said


def read_operator(file: Path) -> dict[str, str]:
    """What the operator did last to a dead letter, by event id: discarding, restored."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {event_id: verb for verb, event_id in (line.split() for line in lines)}


def judge(
    engine: Engine, files: Iterable[Path], starts: Path, unfinished: list[str], operator: Path, *, control: bool
) -> Verdict:
    """The verdict on a run that has come to rest; `unfinished` is what had not."""
    said = read_producers(files)
    operated = read_operator(operator)
    with engine.connect() as connection:
        business = {row[0] for row in connection.execute(text("SELECT event_id FROM chaos_business"))}
        rows = connection.execute(text("SELECT event_id, handler, cause, done_at FROM chaos_effects")).all()
        dead = {(str(row[0]), row[1]) for row in connection.execute(
            text("SELECT event_id, handler FROM event_deliveries WHERE state = 'dead'"))}  # fmt: skip
        stored = {str(row[0]) for row in connection.execute(text("SELECT id FROM event_store"))}
        stored |= {
            row[0]
            for row in connection.execute(
                text("SELECT aggregate_id FROM event_store WHERE event_type LIKE 'tasks.%' OR event_type LIKE 'once.%'")
            )
        }
    effects: Counter[Key] = Counter((row.event_id, row.handler) for row in rows)
    followed = Counter(row.event_id if control else row.cause for row in rows if row.handler == FOLLOWS)
    waits = {tuple(line.split(" is ")[0].split(": ")) for line in unfinished if " is " in line}
    real = set(said.committed) | (said.in_doubt & business)
    verdict = Verdict(stuck=unfinished)

    verdict.lost += [f"{event_id}: committed, and its business row is gone" for event_id in said.committed
                     if event_id not in business]  # fmt: skip
    for event_id in sorted(real):
        for handler in expected(said.kinds[event_id], control=control):
            key = (event_id, handler)
            given_up = handler == HOPELESS and (control or operated.get(event_id) == "discarding")
            if not effects[key] and key not in dead and key not in waits and not given_up:
                verdict.lost.append(f"{event_id}: {handler} did nothing and is no dead letter")
    begun = [line.split() for line in starts.read_text().splitlines()] if starts.exists() else []
    if not control and not unfinished:
        sent = {line[0] for line in begun if line[1] == SENT}
        verdict.lost += [
            f"{event_id}: its plain task was never sent" for event_id in sorted(real)
            if said.kinds[event_id] == "Tasked" and event_id not in sent
        ]  # fmt: skip
    for event_id, count in ((key[0], count) for key, count in effects.items() if key[1] == "publishes" and count):
        if followed[event_id] < 1 and not unfinished:
            verdict.lost.append(f"{event_id}: the event that `publishes` published was never handled")
        if followed[event_id] > count:
            verdict.duplicated.append(f"{event_id}: {FOLLOWS} x {followed[event_id]}")
    verdict.duplicated += [f"{key[0]}: {key[1]} x {count}" for key, count in effects.items() if count > 1]
    if not control:
        alive = {row.handler for row in rows if row.handler in SIGNS.values()}
        verdict.stuck += [
            f"worker-{number} gave no sign of life" for number, name in SIGNS.items() if name not in alive
        ]
        verdict.ghost += [
            f"{row.event_id}: written as tenant {row.cause}" for row in rows if row.handler == TENANTED
            and row.cause != (row.event_id if is_odd(row.event_id) else None)
        ]  # fmt: skip

    never = said.rolled_back | (said.in_doubt - business)
    # What the handlers publish themselves is in no producer's file, and may have been pruned.
    ours = real if control else real | (stored - never) | {row.event_id for row in rows if row.handler == FOLLOWS}
    verdict.ghost += sorted({f"{line[0]}: {line[1]} was started for what never was" for line in begun
                             if line[0] not in ours and line[1] != FOLLOWS})  # fmt: skip
    verdict.ghost += [f"{key[0]}: an effect of {key[1]} for what never was" for key in effects if key[0] not in ours]
    verdict.ghost += [f"{event_id}: rolled back, and an event" for event_id in sorted(never & stored)]

    took = sorted(row.done_at - said.committed[row.event_id] for row in rows if row.event_id in said.committed)
    starts_of = Counter((line[0], line[1]) for line in begun)
    verdict.figures = {
        "events committed": len(said.committed),
        "in doubt, of them committed": f"{len(said.in_doubt)}, {len(said.in_doubt & business)}",
        "rolled back": len(said.rolled_back),
        "effects": sum(effects.values()),
        "dead letters": len(dead),
        "of them not meant to be": sum(key[1] != HOPELESS for key in dead),
        "handlers started more than once": sum(count > 1 for key, count in starts_of.items()
                                               if key[1] not in (HOPELESS, "fails_now_and_then")),
        "commit to done, median": f"{statistics.median(took):.2f} s" if took else "",
        "commit to done, longest": f"{took[-1]:.1f} s" if took else "",
    }  # fmt: skip
    return verdict


# One statement, which is one look: between two an event could be fanned out, and be seen by neither.
_UNFINISHED = """
    SELECT event_id, handler || ' is ' || state FROM event_deliveries WHERE state IN ('pending', 'sent', 'running')
    UNION ALL
    SELECT id, event_type || ' waits' FROM event_store
    WHERE NOT processed AND event_type IN (SELECT event_type FROM event_subscriptions)
"""


def unfinished(engine: Engine) -> list[str]:
    """Deliveries without an outcome, and events that are not fanned out though somebody wants them."""
    with engine.connect() as connection:
        return [f"{row[0]}: {row[1]}" for row in connection.execute(text(_UNFINISHED))]
