"""Asks every worker for a sign of life: an event with a handler in a queue that one worker alone takes from."""

from _chaos.application import SignWanted
from events import publish

if __name__ == "__main__":
    publish(SignWanted())
