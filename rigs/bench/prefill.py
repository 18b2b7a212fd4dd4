"""Makes a backlog before the clock runs.

    python -m rigs.bench.prefill ours|plain KIND COUNT [--subscribe]

`ours` publishes COUNT events of a kind; `plain` sends COUNT x handlers tasks with the same data. With --subscribe the
ledger knows the handlers though no worker has started yet.
"""

import sys

from events import publish
from events.current_pipeline import get_pipeline
from rigs.bench.application import EVENTS, data

_AT_ONCE = 1000


def main(side: str, kind: str, count: int, *, subscribe: bool) -> None:
    if subscribe:
        get_pipeline().subscribe()
    if side == "ours":
        for first in range(0, count, _AT_ONCE):
            publish([EVENTS[kind](number=number) for number in range(first, min(first + _AT_ONCE, count))])
        return
    from rigs.bench import plain

    sent = data(kind)
    for number in range(count):
        for task in plain.tasks[kind]:
            task.apply_async(kwargs=sent | {"number": number})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), subscribe="--subscribe" in sys.argv)
