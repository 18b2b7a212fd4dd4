"""Asks every worker for a sign of life: an event with a handler in a queue that one worker alone takes from."""

from events import publish
from rigs.chaos.application import SignWanted

if __name__ == "__main__":
    publish(SignWanted())
