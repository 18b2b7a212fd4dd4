"""`manage.py events ...`: the whole command `events`, and `manage.py events worker`."""

import argparse
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand

_WORKER = "worker"


class Command(BaseCommand):
    """Hands its arguments on."""

    help = "Domain events: workers, dead letters, history and more; `events --help` lists the commands"
    requires_system_checks = ()  # the command says by itself what is wrong with settings

    def run_from_argv(self, argv: Any) -> None:
        from events.cli import run

        arguments = list(argv[2:])
        if arguments[:1] == [_WORKER]:
            os.execv(sys.executable, [sys.executable, "-m", "celery", "-A", "events", *arguments])
        run(arguments, f"{argv[0]} {argv[1]}")

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *arguments: str, **options: Any) -> None:
        """For call_command("events", "status"): in this process, and in the transaction of a test."""
        from events.cli import app

        app([*arguments, *options.get("arguments", ())], standalone_mode=False)
