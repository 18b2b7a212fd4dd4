"""Tests of applications: in the transaction of a TestCase, what was published is seen, and handlers run."""

from unittest import skipIf

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from books.happenings import BookListed, BookPlanned, BookPraised
from books.models import Book, Copy
from books.planning import log, planned
from events import publish
from events.django.models import DeadLetter, Delivery, Event
from events.django.testing import captured_events, published, run_pending
from events.ledger import Outcome


class InATestCase(TestCase):
    databases = {"default", "other"}

    def setUp(self) -> None:
        log.clear()

    def list_a_book(self) -> None:
        with transaction.atomic():
            Book.objects.create(title="Dune")
            publish(BookListed(title="Dune"))

    def test_what_was_published_is_seen(self) -> None:
        self.list_a_book()
        self.assertEqual([event.title for event in published(BookListed)], ["Dune"])
        self.assertEqual(published(BookPraised), [])

    def test_handlers_run_and_what_they_publish_is_handled(self) -> None:
        self.list_a_book()
        attempts = run_pending()
        self.assertEqual([(one.handler, one.outcome) for one in attempts], [("order_copy", Outcome.SUCCEEDED)])
        self.assertEqual([copy.by for copy in Copy.objects.all()], ["order_copy"])
        self.assertEqual([event.reader for event in published(BookPraised)], ["Paul"])
        self.assertEqual(run_pending(), [])

    def test_hooks_of_a_handler_run_after_its_transaction(self) -> None:
        self.list_a_book()
        with self.captureOnCommitCallbacks() as callbacks:
            run_pending()
        self.assertEqual((log, callbacks), (["ordered Dune"], []))

    def test_the_error_of_a_handler_is_raised(self) -> None:
        publish(BookListed(title="no such book"))
        with self.assertRaises(Book.DoesNotExist):
            run_pending()

    def test_or_the_handler_is_tried_again_until_it_is_given_up(self) -> None:
        @planned
        def fail_after_writing(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            log.append("failed")
            transaction.on_commit(lambda: log.append("hook"))
            raise LookupError("no paper")

        publish(BookPlanned(title="Dune", plan="fail_after_writing"))
        outcomes = [one.outcome for one in run_pending(raises=False) if one.handler == "carry_out"]
        self.assertEqual(outcomes, [Outcome.RETRY, Outcome.DEAD])
        self.assertEqual((Book.objects.count(), log.count("failed"), log.count("hook")), (0, 2, 0))
        letter = DeadLetter.objects.get()
        self.assertEqual((letter.handler, letter.error_type, letter.attempts), ("carry_out", "LookupError", 2))
        self.assertEqual(DeadLetter.objects.get(pk=letter.pk), letter)
        self.assertEqual(list(DeadLetter.objects.filter(pk__in=[letter.pk, "nonsense"])), [letter])

    def test_events_of_a_block_are_captured(self) -> None:
        publish(BookPraised(title="before"))
        Book.objects.create(title="Dune")
        with captured_events(execute=True) as events:
            publish(BookListed(title="Dune"))
        self.assertEqual([type(event) for event in events], [BookListed])
        self.assertEqual(Copy.objects.count(), 1)

    def test_each_begins_with_an_empty_ledger(self) -> None:
        self.assertEqual((Event.objects.count(), Delivery.objects.count(), log), (0, 0, []))

    def test_commands_see_the_transaction(self) -> None:
        publish(BookListed(title="Dune"))
        call_command("events", "find", "--json")

    @skipIf(hasattr(settings, "MIGRATION_MODULES") and settings.MIGRATION_MODULES, "migrations are switched off")
    def test_a_migration_is_not_missing(self) -> None:
        call_command("makemigrations", "events_ledger", "--check", "--dry-run", verbosity=0)


class FirstOfTwo(TransactionTestCase):
    def test_each_begins_with_an_empty_ledger(self) -> None:
        self.assertEqual((Event.objects.count(), Delivery.objects.count()), (0, 0))
        publish(BookPraised(title="Dune"))
        run_pending()
        self.assertFalse(connection.in_atomic_block)


class SecondOfTwo(FirstOfTwo):
    """The same again: the events of the first are gone."""
