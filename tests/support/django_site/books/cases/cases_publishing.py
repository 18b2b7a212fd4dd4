"""publish() shares the fate of what Django writes beside it."""

import threading
from typing import Any

from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import AsyncClient, SimpleTestCase, TransactionTestCase, override_settings

from books.happenings import BookListed
from books.models import Book, Branch
from events import publish
from events.django.models import Event
from events.django.testing import published
from events.errors import ConfigurationError, EventIdTaken, PublishError


def titles() -> list[str]:
    return [event.title for event in published(BookListed)]


class Undone(Exception): ...


class Atomic(TransactionTestCase):
    databases = {"default", "other"}

    def test_committed_with_the_rows_beside_it(self) -> None:
        with transaction.atomic():
            Book.objects.create(title="Dune")
            publish(BookListed(title="Dune"))
        self.assertEqual(titles(), ["Dune"])

    def test_rolled_back_with_them(self) -> None:
        with self.assertRaises(Undone), transaction.atomic():
            Book.objects.create(title="Dune")
            publish(BookListed(title="Dune"))
            raise Undone
        self.assertEqual((titles(), Book.objects.count()), ([], 0))

    def test_undone_to_a_savepoint(self) -> None:
        with transaction.atomic():
            publish(BookListed(title="outer"))
            with self.assertRaises(Undone), transaction.atomic():
                publish(BookListed(title="inner"))
                raise Undone
            sid = transaction.savepoint()
            publish(BookListed(title="by hand"))
            transaction.savepoint_rollback(sid)
        self.assertEqual(titles(), ["outer"])

    def test_undone_by_set_rollback(self) -> None:
        with transaction.atomic():
            publish(BookListed(title="Dune"))
            transaction.set_rollback(True)
        self.assertEqual(titles(), [])

    def test_refused_in_a_transaction_that_is_broken(self) -> None:
        with transaction.atomic():
            with self.assertRaises(Undone), transaction.atomic(savepoint=False):
                raise Undone
            with self.assertRaises(TransactionManagementError):
                publish(BookListed(title="Dune"))
        self.assertEqual(titles(), [])

    def test_after_an_error_that_a_savepoint_kept_away(self) -> None:
        Book.objects.create(title="Dune")
        with transaction.atomic():
            with self.assertRaises(IntegrityError), transaction.atomic():
                Book.objects.create(title="Dune")
            publish(BookListed(title="Dune"))
        self.assertEqual(titles(), ["Dune"])

    def test_in_a_durable_block(self) -> None:
        with transaction.atomic(durable=True):
            publish(BookListed(title="Dune"))
        self.assertEqual(titles(), ["Dune"])

    def test_with_rows_of_a_raw_cursor(self) -> None:
        with self.assertRaises(Undone), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("UPDATE books_book SET title = 'x'")
            publish(BookListed(title="Dune"))
            raise Undone
        self.assertEqual(titles(), [])

    def test_alone_it_is_stored_at_once(self) -> None:
        publish([BookListed(title="Dune"), BookListed(title="Emma")])
        self.assertEqual(sorted(titles()), ["Dune", "Emma"])
        self.assertFalse(connection.in_atomic_block)

    def test_alone_all_or_none(self) -> None:
        first = BookListed(title="Dune")
        publish(first)
        with self.assertRaises(EventIdTaken):
            publish([BookListed(title="Emma"), first.model_copy(update={"title": "other"})])
        self.assertEqual(titles(), ["Dune"])

    def test_in_transactions_that_the_application_manages(self) -> None:
        transaction.set_autocommit(False)
        try:
            publish(BookListed(title="Dune"))
            transaction.rollback()
            publish(BookListed(title="Emma"))
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
        self.assertEqual(titles(), ["Emma"])

    def test_an_on_commit_hook_may_publish(self) -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: publish(BookListed(title="after")))
            publish(BookListed(title="before"))
        self.assertEqual(titles(), ["before", "after"])

    def test_errors_are_those_of_django(self) -> None:
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            self.skipTest("a database in memory is never closed")
        with self.assertRaises(DatabaseError), transaction.atomic():
            publish(BookListed(title="Dune"))
            connection.close()
            publish(BookListed(title="Emma"))
        self.assertEqual(titles(), [])

    def test_twenty_threads_each_in_its_own_transaction(self) -> None:
        failed: list[BaseException] = []

        def store(number: int) -> None:
            try:
                with transaction.atomic():
                    Book.objects.create(title=str(number))
                    publish(BookListed(title=str(number)))
                    if number % 2:
                        transaction.set_rollback(True)
            except BaseException as error:
                failed.append(error)
            finally:
                connections.close_all()

        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            self.skipTest("threads share no database in memory")
        threads = [threading.Thread(target=store, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(sorted(titles(), key=int), [str(number) for number in range(0, 20, 2)])

    def test_models_show_events_and_write_none(self) -> None:
        publish(BookListed(title="Dune"))
        event = Event.objects.get()
        self.assertEqual((event.event_type, event.aggregate_id, event.processed), ("BookListed", "Dune", False))
        for write in (event.save, event.delete, Event.objects.all().delete, lambda: Event.objects.create()):
            with self.assertRaisesMessage(TypeError, "publish() makes events"):
                write()

    def test_it_publishes_on_no_other_connection(self) -> None:
        if connection.vendor != "postgresql":
            self.skipTest("asks PostgreSQL")
        with transaction.atomic(), connection.cursor() as cursor:
            publish(BookListed(title="Dune"))
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'events' AND datname = current_database()"
            )
            self.assertEqual(cursor.fetchone()[0], 0)


class Databases(TransactionTestCase):
    databases = {"default", "other"}

    def test_the_alias_of_the_ledger_may_be_named(self) -> None:
        with transaction.atomic():
            publish(BookListed(title="Dune"), using="default")
        self.assertEqual(titles(), ["Dune"])

    def test_another_alias_is_refused(self) -> None:
        with self.assertRaisesMessage(PublishError, "'other' is another database than the ledger's"):
            publish(BookListed(title="Dune"), using="other")
        with self.assertRaisesMessage(PublishError, "'othr' names no alias in DATABASES: use 'default'"):
            publish(BookListed(title="Dune"), using="othr")
        self.assertEqual(titles(), [])

    def test_in_a_transaction_of_another_database_it_is_refused_unless_that_is_meant(self) -> None:
        refused = self.assertRaisesMessage(PublishError, "publish() in atomic(using='other')")
        with refused, transaction.atomic(using="other"):
            Branch.objects.create(name="north")
            publish(BookListed(title="Dune"))
        self.assertEqual((titles(), Branch.objects.count()), ([], 0))
        with transaction.atomic(using="other"):
            publish(BookListed(title="Dune"), using="default")
        self.assertEqual(titles(), ["Dune"])

    def test_within_both_it_belongs_to_the_ledgers(self) -> None:
        with self.assertRaises(Undone), transaction.atomic(using="other"):
            with transaction.atomic():
                publish(BookListed(title="Dune"))
            raise Undone
        self.assertEqual(titles(), ["Dune"])

    def test_session_and_using_exclude_each_other(self) -> None:
        with self.assertRaisesMessage(PublishError, "either session= or using="):
            publish(BookListed(title="Dune"), session=object(), using="default")  # type: ignore[arg-type]


class Requests(TransactionTestCase):
    def test_of_a_view(self) -> None:
        self.client.get("/listed?title=Dune")
        self.assertEqual(titles(), ["Dune"])

    def test_of_a_request_that_is_atomic(self) -> None:
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            with self.assertRaises(ValueError):
                self.client.get("/listed-by-request?title=Dune&fail")
            self.client.get("/listed-by-request?title=Emma")
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = False
        self.assertEqual(titles(), ["Emma"])

    async def test_of_an_async_view(self) -> None:
        from asgiref.sync import sync_to_async

        await AsyncClient().get("/listed-async?title=Dune")
        self.assertEqual(await sync_to_async(titles)(), ["Dune", "Dune"])

    async def test_on_the_event_loop_it_is_refused(self) -> None:
        with self.assertRaisesMessage(PublishError, "use `await publish_async(event)`"):
            await AsyncClient().get("/listed-on-the-loop?title=Dune")


class NoQueries(SimpleTestCase):
    def test_where_a_test_allows_no_queries_none_is_sent(self) -> None:
        with self.assertRaisesMessage(AssertionError, "Database"):
            publish(BookListed(title="Dune"))


class Settings(TransactionTestCase):
    def complaint(self, **given: Any) -> str:
        from django.core.management import call_command
        from django.core.management.base import SystemCheckError

        with override_settings(EVENTS=given), self.assertRaises(SystemCheckError) as caught:
            call_command("check")
        return str(caught.exception)

    def test_wrong_ones_are_named_with_a_cure(self) -> None:
        for given, words in [
            ({"LEASES": "30s"}, "settings.EVENTS['LEASES'] is no setting of this version; did you mean 'LEASE'?"),
            ({"lease": "30s"}, "write 'LEASE'"),
            ({"EVENTS_LEASE": "30s"}, "write 'LEASE'"),
            ({"LEASE": "soon"}, "settings.EVENTS['LEASE']='soon': use a number of seconds"),
            ({"DATABASE": "elsewhere"}, "is no alias in DATABASES; use one of 'default', 'other'"),
            ({"DATABASE_URL": "sqlite:///x.db"}, "say which of DATABASES it is"),
        ]:
            with self.subTest(given):
                self.assertIn(words, self.complaint(**given).replace("\n\tHINT: ", "; "))

    def test_it_has_to_be_a_dict(self) -> None:
        with override_settings(EVENTS=["LEASE"]), self.assertRaisesMessage(ConfigurationError, "use a dict"):
            publish(BookListed(title="Dune"))
