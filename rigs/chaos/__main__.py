"""Starts the rig: `python rigs/chaos`, from anywhere."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]  # instead of this folder, whose modules are `rigs.chaos.*`

from rigs.demo import interrupts  # noqa: E402

if __name__ == "__main__":
    interrupts.install()
    try:
        from rigs.chaos.main import main

        sys.exit(main(sys.argv[1:]))
    except interrupts.Stopped as stopped:
        print("Stopped; no process was left behind.", file=sys.stderr)
        sys.exit(128 + stopped.signal)
