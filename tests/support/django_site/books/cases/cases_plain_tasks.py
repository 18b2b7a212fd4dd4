"""Plain tasks of Celery, of an app with `events.outbox()`: sent if and only if the block commits they were sent in."""

from celery import Celery
from django.db import transaction
from django.test import TestCase, TransactionTestCase
from kombu import Connection

from books.models import Book
from events import PublishError, outbox
from events.django.testing import run_pending

app = Celery("books", broker="memory://", set_as_current=False)
outbox(app)


@app.task
def print_label(title: str) -> None: ...


def sent() -> int:
    """How many messages are in the broker's queue; they are gone then."""
    with Connection("memory://") as connection:
        queue = connection.SimpleQueue("celery")
        count = queue.qsize()
        queue.clear()
        return int(count)


class Undone(Exception): ...


class PlainTasks(TransactionTestCase):
    databases = {"default", "other"}

    def test_sent_when_the_block_has_committed(self) -> None:
        with transaction.atomic():
            Book.objects.create(title="Dune")
            print_label.delay("Dune")
            self.assertEqual(sent(), 0)
        run_pending()
        self.assertEqual(sent(), 1)

    def test_never_sent_when_it_is_rolled_back(self) -> None:
        with self.assertRaises(Undone), transaction.atomic():
            print_label.delay("Dune")
            raise Undone
        run_pending()
        self.assertEqual(sent(), 0)

    def test_a_savepoint_takes_its_own_along(self) -> None:
        with transaction.atomic():
            print_label.delay("outer")
            with self.assertRaises(Undone), transaction.atomic():
                print_label.delay("inner")
                raise Undone
        run_pending()
        self.assertEqual(sent(), 1)

    def test_a_transaction_begun_by_hand_counts(self) -> None:
        transaction.set_autocommit(False)
        try:
            print_label.delay("Dune")
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        run_pending()
        self.assertEqual(sent(), 0)

    def test_outside_of_a_block_it_is_sent_at_once(self) -> None:
        print_label.delay("Dune")
        self.assertEqual(sent(), 1)

    def test_in_a_block_of_another_database_alone_it_is_refused(self) -> None:
        with self.assertRaises(PublishError), transaction.atomic(using="other"):
            print_label.delay("Dune")
        self.assertEqual(sent(), 0)


class InTests(TestCase):
    def test_the_block_around_a_test_is_none(self) -> None:
        print_label.delay("Dune")
        self.assertEqual(sent(), 1)
