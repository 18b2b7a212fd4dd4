"""`events relay`, after the application's own patch."""

import sys

import rigs.chaos.application  # noqa: F401
from events.cli import main

if __name__ == "__main__":
    sys.argv[1:] = ["relay"]
    main()
