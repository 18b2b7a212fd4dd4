"""The bridge whose rate is measured.

    python -m rigs.bench.sending URL COUNT

Prints events a second: each made into a message, and sent in batches of 100.
"""

import gc
import sys
import time

from events.bridges import AT_ONCE, Forwarding, open_bridge
from events.settings import load_settings
from rigs.bench.application import Bridged
from rigs.bench.listening import listened_to


def main(url: str, count: int) -> None:
    settings = load_settings()
    forwarding = Forwarding(*listened_to(*open_bridge(url, settings)), settings.source)
    events = [Bridged(number=number) for number in range(count)]
    forwarding.forward(events[:AT_ONCE])  # connects
    gc.collect()
    gc.freeze()
    begun = time.perf_counter()
    for start in range(AT_ONCE, count, AT_ONCE):
        forwarding.forward(events[start : start + AT_ONCE])
    print((count - AT_ONCE) / (time.perf_counter() - begun))
    forwarding.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
