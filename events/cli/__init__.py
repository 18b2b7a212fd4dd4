"""The command `events`: one module a topic.

May import: django, which it starts, and everything below.
Open first: `command`, which says where each subcommand is, then `output`.
"""

from events.cli.command import app, main, run

__all__ = ["app", "main", "run"]
