"""Which faults, on what, when, for how long: drawn before anything starts, so that a seed replays."""

import random
from dataclasses import dataclass

LONGEST = 8.0  # seconds that a fault lasts


@dataclass(frozen=True)
class Fault:
    """One fault. `lasts` is 0 for what happens in a moment: a kill, a restart, a wipe."""

    at: float
    kind: str
    target: str
    lasts: float
    which: int  # of several processes, chosen modulo their number when the time comes

    def __str__(self) -> str:
        return f"{self.kind} {self.target}" + (f" for {self.lasts:.1f} s" if self.lasts else "")


# What a broker may suffer besides: full, full and forgetting, without its password. Of RabbitMQ, its queue.
BROKER_TROUBLES = {
    "redis": (("fill", 2), ("evict", 1), ("lock", 2)),
    "rabbitmq-quorum": (("fill", 2),),
    "rabbitmq-classic": (("fill", 2),),
}


def links(mode: str) -> list[str]:
    """The connections that can be cut: who to whom."""
    found = [] if mode == "sqlite" else ["producer-database", "worker-database"]
    if is_brokered(mode):
        found += ["relay-database", "worker-broker", "relay-broker"]
    return found


def is_brokered(mode: str) -> bool:
    return mode not in ("sqlite", "postgres")


def draw(mode: str, seconds: float, seed: int) -> list[Fault]:
    """The faults of a run, in order; the last ends within `seconds`."""
    dice = random.Random(f"{mode} {seed}")
    choices = [
        ("kill", "worker", False, 3), ("kill", "child", False, 3), ("kill", "producer", False, 2),
        ("stop", "worker", True, 3), ("stop", "child", True, 2), ("stop", "producer", True, 1),
        ("restart", "workers one by one", False, 2),
    ]  # fmt: skip
    choices += [(kind, link, True, 1) for link in links(mode) for kind in ("cut", "hang")]
    if mode != "sqlite":
        choices.append(("restart", "database", False, 2))
    if is_brokered(mode):
        choices += [("kill", "relay", False, 2), ("stop", "relay", True, 1), ("restart", "broker", False, 2),
                    ("pause", "broker", True, 2), ("wipe", "broker", False, 3)]  # fmt: skip
    choices += [(kind, "broker", True, weight) for kind, weight in BROKER_TROUBLES.get(mode, ())]
    weights = [weight for *_, weight in choices]
    faults, at = [], 1.0
    while True:
        at = round(at + dice.uniform(0.5, 5.0), 1)
        if at >= seconds:
            return faults
        kind, target, lasting, _ = dice.choices(choices, weights)[0]
        lasts = round(min(dice.uniform(0.2, LONGEST), seconds - at), 1) if lasting else 0.0
        faults.append(Fault(at, kind, target, lasts, dice.randrange(1000)))
