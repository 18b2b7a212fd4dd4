"""The ledger in another alias than `default`: events are of that database's transactions, and so are handlers."""

from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test import TestCase, TransactionTestCase
from django.urls import reverse

from books.happenings import BookListed, BookPlanned
from books.models import Book, Branch
from books.planning import planned
from events import publish
from events.django.models import Delivery, Event
from events.django.testing import published, run_pending
from events.errors import PublishError


class Elsewhere(TestCase):
    databases = {"default", "other"}

    def test_an_event_is_of_the_transaction_of_its_database(self) -> None:
        with transaction.atomic(using="other"):
            Branch.objects.create(name="north")
            publish(BookListed(title="Dune"), using="other")
            transaction.set_rollback(True, using="other")
        self.assertEqual((published(BookListed), Branch.objects.count()), ([], 0))

    def test_the_tables_are_there_and_nowhere_else(self) -> None:
        tables = {alias: connections[alias].introspection.table_names() for alias in ("default", "other")}
        self.assertIn("event_store", tables["other"])
        self.assertNotIn("event_store", tables["default"])

    def test_handlers_write_there_together_with_their_outcome(self) -> None:
        @planned
        def open_branch(event: BookPlanned) -> None:
            Branch.objects.create(name=event.title)
            Book.objects.create(title=f"{event.title} {Book.objects.count()}")
            raise LookupError

        publish(BookPlanned(title="north", plan="open_branch"))
        run_pending(raises=False)
        self.assertEqual((Branch.objects.count(), Book.objects.count()), (0, 2))
        self.assertEqual(Delivery.objects.get(handler="carry_out").state, "dead")

    def test_the_admin_reads_it(self) -> None:
        publish(BookListed(title="Dune"))
        self.client.force_login(User.objects.create_superuser("root"))
        self.assertContains(self.client.get(reverse("admin:events_ledger_event_changelist")), "BookListed")
        page = reverse("admin:events_ledger_event_change", args=[Event.objects.get().pk])
        self.assertContains(self.client.get(page), "Dune")


class Committed(TransactionTestCase):
    databases = {"default", "other"}

    def test_in_a_block_of_the_default_alone_it_is_refused(self) -> None:
        with self.assertRaisesMessage(PublishError, "publish() in atomic(using='default')"), transaction.atomic():
            publish(BookListed(title="Dune"))
        self.assertEqual(published(BookListed), [])

    def test_flush_empties_it(self) -> None:
        self.assertEqual(Event.objects.count(), 0)
        publish(BookListed(title="Dune"))

    test_flush_has_emptied_it = test_flush_empties_it
