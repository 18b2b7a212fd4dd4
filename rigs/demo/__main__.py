"""Starts the demo: `python rigs/demo`, from anywhere."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT)]  # instead of this folder, whose modules are `rigs.demo.*`

from rigs.demo import interrupts  # noqa: E402

if __name__ == "__main__":
    interrupts.install()  # before the slow imports, so that Ctrl-C is always answered the same way
    try:
        from rigs.demo.main import main

        sys.exit(main(sys.argv[1:]))
    except interrupts.Stopped as stopped:
        print("Stopped; no process was left behind.", file=sys.stderr)
        sys.exit(128 + stopped.signal)
