"""Random programs of nested blocks, savepoints, errors that are caught or not, and events: exactly those events exist
whose blocks were all committed."""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.db import Error, connection, transaction
from django.test import TransactionTestCase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from books.happenings import BookListed
from books.models import Book
from events import publish
from events.django.testing import published

EXAMPLES = int(os.environ.get("CASES_EXAMPLES", "60"))


class Stop(Exception): ...


@dataclass
class Block:
    """An atomic() with these steps, of which one may be a Block.

    `catches`: whether an error in the block is caught around it. `durable`: only outermost blocks may be so.
    """

    steps: list[Any]
    savepoint: bool = True
    catches: bool = True


LEAVES = st.sampled_from(["publish", "publish two", "row", "raise", "bad sql caught", "savepoint", "roll back", "hook"])
BLOCKS = st.recursive(
    st.builds(Block, st.lists(LEAVES, max_size=4), st.booleans(), st.booleans()),
    lambda inner: st.builds(Block, st.lists(LEAVES | inner, max_size=5), st.booleans(), st.booleans()),
    max_leaves=8,
)


@dataclass
class Run:
    """Runs a program, and knows by itself what must exist: the rows that the program wrote beside each event."""

    number: int = 0
    tried: set[str] = field(default_factory=set)

    def name(self) -> str:
        self.number += 1
        self.tried.add(str(self.number))
        return str(self.number)

    def block(self, block: Block) -> None:
        try:
            with transaction.atomic(savepoint=block.savepoint):
                for step in block.steps:
                    if isinstance(step, Block):
                        self.block(step)
                    else:
                        getattr(self, "do_" + step.replace(" ", "_"))()
        except (Stop, Error):
            if not block.catches:
                raise

    def do_publish(self) -> None:
        """A row and an event with the same name: either both are there in the end, or neither."""
        name = self.name()
        Book.objects.create(title=name)
        publish(BookListed(title=name))

    def do_publish_two(self) -> None:
        names = [self.name(), self.name()]
        publish([BookListed(title=name) for name in names])
        for name in names:
            Book.objects.create(title=name)

    def do_row(self) -> None:
        Book.objects.update(facts={})

    def do_raise(self) -> None:
        raise Stop

    def do_bad_sql_caught(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nonsense")
        except Error:
            pass  # on PostgreSQL nothing more can be done in this block

    def do_savepoint(self) -> None:
        sid = transaction.savepoint()
        self.do_publish()
        transaction.savepoint_rollback(sid)

    def do_roll_back(self) -> None:
        transaction.set_rollback(True)

    def do_hook(self) -> None:
        name = self.name()

        def stored() -> None:
            with transaction.atomic():
                Book.objects.create(title=name)
                publish(BookListed(title=name))

        transaction.on_commit(stored)


class Programs(TransactionTestCase):
    def test_events_are_where_their_rows_are(self) -> None:
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(BLOCKS, min_size=1, max_size=3))
        def go(blocks: list[Block]) -> None:
            run = Run()
            Book.objects.all().delete()
            before = {event.event_id for event in published(BookListed)}
            for block in blocks:
                with suppress(Stop, Error):
                    run.block(block)
            events = sorted(event.title for event in published(BookListed) if event.event_id not in before)
            rows = sorted(Book.objects.values_list("title", flat=True))
            self.assertEqual(events, rows)
            self.assertLessEqual(set(rows), run.tried)

        go()
