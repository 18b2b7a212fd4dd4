"""`python -m events`: the same as the command `events`."""

from events.cli import main

if __name__ == "__main__":
    main()
