"""A handler's ORM is in its delivery's transaction: it commits with the outcome, and nothing of Django's can end it."""

import asyncio
import threading
from collections import Counter
from typing import Any

from asgiref.sync import sync_to_async
from django.db import IntegrityError, close_old_connections, connection, connections, transaction
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase

from books.delivering import worker
from books.happenings import BookAwaited, BookPlanned, BookPraised, BookShared
from books.models import Book, Branch, Copy
from books.planning import log, planned
from events import publish
from events.django.models import DeadLetter, Delivery
from events.django.testing import published
from events.testing import InlinePipeline


class Stop(Exception): ...


class Deliveries(TransactionTestCase):
    databases = {"default", "other"}
    pipeline: InlinePipeline

    def setUp(self) -> None:
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            self.skipTest("a worker can't reach a database in memory")
        log.clear()
        self.pipeline = self.enterContext(worker())

    def carry_out(self, plan: Any, title: str = "Dune") -> list[str]:
        """The outcomes of a handler that does what `plan` says."""
        planned(plan)
        publish(BookPlanned(title=title, plan=plan.__name__))
        return [str(result.outcome) for wakeup, result in self.pipeline.run() if wakeup.handler == "carry_out"]

    def titles(self) -> list[str]:
        return sorted(Book.objects.values_list("title", flat=True))

    def dies_of(self, plan: Any, words: str) -> None:
        outcomes = self.carry_out(plan)
        self.assertEqual(outcomes[-1], "dead")
        self.assertIn(words, DeadLetter.objects.latest("finished_at").error or "")
        self.assertEqual(self.titles(), [])


class Together(Deliveries):
    def test_rows_and_outcome_are_one_transaction(self) -> None:
        def see_it_uncommitted(event: BookPlanned) -> None:
            Book.objects.create(title=event.title, facts={"pages": 412})
            self.assertTrue(connection.in_atomic_block)
            seen: list[int] = []
            if connection.vendor == "postgresql":
                look = threading.Thread(target=lambda: (seen.append(Book.objects.count()), connections.close_all()))
                look.start()
                look.join()
                self.assertEqual(seen, [0])
            self.assertEqual(Book.objects.get().facts, {"pages": 412})

        self.assertEqual(self.carry_out(see_it_uncommitted), ["succeeded"])
        self.assertEqual((self.titles(), Delivery.objects.get(handler="carry_out").state), (["Dune"], "succeeded"))

    def test_a_failure_undoes_all_and_calls_no_hook(self) -> None:
        def fail_late(event: BookPlanned) -> None:
            with transaction.atomic():
                Book.objects.create(title=event.title)
            publish(BookPraised(title=event.title))
            transaction.on_commit(lambda: log.append("hook"))
            raise Stop

        self.assertEqual(self.carry_out(fail_late), ["retry", "dead"])
        self.assertEqual((self.titles(), published(BookPraised), log.count("hook")), ([], [], 0))

    def test_hooks_run_once_after_the_commit(self) -> None:
        def hook(event: BookPlanned) -> None:
            def called() -> None:
                log.append(f"hook {Book.objects.count()} {connection.in_atomic_block}")
                publish(BookPraised(title="of the hook"))

            Book.objects.create(title=event.title)
            transaction.on_commit(called)
            try:
                with transaction.atomic():
                    transaction.on_commit(lambda: log.append("never"))
                    raise Stop
            except Stop:
                pass
            log.append("returned")

        self.assertEqual(self.carry_out(hook), ["succeeded"])
        self.assertEqual([line for line in log if "counted" not in line], ["returned", "hook 1 False"])
        self.assertEqual([event.title for event in published(BookPraised)], ["of the hook"])

    def test_a_hook_that_fails_is_logged(self) -> None:
        def fail_in_hook(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            transaction.on_commit(lambda: 1 / 0)
            transaction.on_commit(lambda: log.append("the next"))

        with self.assertLogs("events.delivery", "ERROR") as logged:
            self.assertEqual(self.carry_out(fail_in_hook), ["succeeded"])
        self.assertIn("an on_commit() hook failed", logged.output[0])
        self.assertEqual((self.titles(), "the next" in log), (["Dune"], True))

    def test_savepoints_nest(self) -> None:
        def nest(event: BookPlanned) -> None:
            Book.objects.create(title="outer")
            for fails in (True, False):
                try:
                    with transaction.atomic():
                        Book.objects.create(title=f"inner, fails={fails}")
                        with transaction.atomic():
                            Book.objects.create(title=f"innermost, fails={fails}")
                        if fails:
                            raise Stop
                except Stop:
                    pass
            with self.assertRaises(IntegrityError), transaction.atomic():
                Book.objects.create(title="outer")

        self.assertEqual(self.carry_out(nest), ["succeeded"])
        self.assertEqual(self.titles(), ["inner, fails=False", "innermost, fails=False", "outer"])

    def test_django_closes_nothing(self) -> None:
        def close(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            close_old_connections()
            connections.close_all()
            connection.close()
            connection.close_if_unusable_or_obsolete()
            connection.connection.close()
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM books_book")
                self.assertEqual(cursor.fetchone()[0], 1)

        self.assertEqual(self.carry_out(close), ["succeeded"])
        self.assertEqual(self.titles(), ["Dune"])

    def test_large_results_are_streamed(self) -> None:
        def stream(event: BookPlanned) -> None:
            Book.objects.bulk_create([Book(title=str(number)) for number in range(500)])
            self.assertEqual(len(list(Book.objects.iterator(chunk_size=50))), 500)

        self.assertEqual(self.carry_out(stream), ["succeeded"])

    def test_values_are_those_that_django_has(self) -> None:
        seen: list[Any] = []

        def look(event: BookPlanned) -> None:
            book = Book.objects.get()
            with connection.cursor() as cursor:
                cursor.execute("SELECT added_at, facts FROM books_book WHERE title = %s", ["Emma"])
                seen.append((book.added_at, book.facts, cursor.fetchone()))

        Book.objects.create(title="Emma", facts={"by": ["Austen"]})
        look(BookPlanned(title="", plan=""))
        self.carry_out(look)
        self.assertEqual(seen[0], seen[1])

    def test_a_session_is_in_the_same_transaction(self) -> None:
        publish(BookShared(title="Dune"))
        self.pipeline.run()
        self.assertEqual(log, ["1 Dune of a session"])

    def test_of_another_database_nothing_is_lent(self) -> None:
        def write_both(event: BookPlanned) -> None:
            Branch.objects.create(name="north")
            Book.objects.create(title=event.title)
            raise Stop

        self.carry_out(write_both)
        self.assertEqual((self.titles(), Branch.objects.count()), ([], 2))  # as often as it was tried

    def test_after_it_the_thread_has_its_connection_again(self) -> None:
        before = connections["default"]
        self.carry_out(lambda_free)
        self.assertIs(connections["default"], before)
        self.assertFalse(before.in_atomic_block)

    def test_signals_of_new_connections_are_sent(self) -> None:
        seen: list[Any] = []

        def created(sender: Any, connection: Any, **_: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            seen.append(sender.__name__)

        connection_created.connect(created)
        try:
            self.pipeline.ledger.engine.dispose()
            self.assertEqual(self.carry_out(lambda_free), ["succeeded"])
        finally:
            connection_created.disconnect(created)
        self.assertEqual(set(seen), {"DatabaseWrapper"})


def lambda_free(event: BookPlanned) -> None:
    Book.objects.create(title=event.title)


class Refused(Deliveries):
    def test_to_end_the_transaction(self) -> None:
        def commit(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            transaction.commit()

        def by_text(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            with connection.cursor() as cursor:
                cursor.execute("COMMIT")

        def by_driver(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            connection.connection.commit()

        def by_setting(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            transaction.set_autocommit(True)

        for plan, words in [
            (commit, "forbidden when an 'atomic' block is active"),
            (by_text, "tried to end the delivery's own transaction"),
            (by_driver, "tried to end the delivery's own transaction"),
            (by_setting, "forbidden when an 'atomic' block is active"),
        ]:
            with self.subTest(plan.__name__):
                self.dies_of(plan, words)

    def test_a_durable_block(self) -> None:
        def be_durable(event: BookPlanned) -> None:
            with transaction.atomic(durable=True):
                Book.objects.create(title=event.title)

        self.dies_of(be_durable, "durable atomic block cannot be nested")

    def test_to_return_with_a_transaction_that_is_marked_for_rollback(self) -> None:
        def mark(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            transaction.set_rollback(True)

        def swallow(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            try:
                with transaction.atomic(savepoint=False):
                    raise Stop
            except Stop:
                pass

        self.dies_of(mark, "marked for rollback")
        self.dies_of(swallow, "marked for rollback")

    def test_to_return_within_a_block(self) -> None:
        def leave_open(event: BookPlanned) -> None:
            transaction.atomic().__enter__()
            Book.objects.create(title=event.title)

        self.dies_of(leave_open, "within an atomic() block that it has not left")

    def test_the_orm_in_another_thread(self) -> None:
        def elsewhere(event: BookPlanned) -> None:
            async def write() -> None:
                await asyncio.to_thread(Book.objects.create, title=event.title)

            asyncio.run(write())

        async def awaited(event: BookAwaited) -> None:
            await sync_to_async(Book.objects.create)(title=event.title)

        self.dies_of(elsewhere, "in another thread than its own")
        planned(awaited)
        publish(BookAwaited(title="Dune", plan="awaited"))
        self.pipeline.run()
        self.assertIn("make the handler a plain `def`", DeadLetter.objects.get(handler="carry_out_async").error or "")
        self.assertEqual(self.titles(), [])

    def test_a_connection_that_was_kept(self) -> None:
        kept: list[Any] = []

        def keep(event: BookPlanned) -> None:
            kept.append(connections["default"])

        self.carry_out(keep)
        with self.assertRaisesMessage(Exception, "delivery of handler 'carry_out' that has ended"):
            kept[0].cursor()


class Groups(Deliveries):
    def test_a_neighbour_that_fails_takes_nobody_down(self) -> None:
        def one_of_many(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            if event.title == "7":
                raise Stop
            transaction.on_commit(lambda: log.append(f"hook {event.title}"))

        planned(one_of_many)
        publish([BookPlanned(title=str(number), plan="one_of_many") for number in range(20)])
        outcomes = Counter(
            str(result.outcome) for wakeup, result in self.pipeline.run() if wakeup.handler == "carry_out"
        )
        rest = [str(number) for number in range(20) if number != 7]
        self.assertEqual(self.titles(), sorted(rest))
        self.assertEqual(sorted(line for line in log if "hook" in line), sorted(f"hook {number}" for number in rest))
        self.assertEqual((outcomes["succeeded"], outcomes["dead"]), (19, 1))

    def test_each_has_its_own_savepoint_even_if_it_swallows_an_error(self) -> None:
        def swallow(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            if event.title == "3":
                with self.assertRaises(IntegrityError), transaction.atomic():
                    Book.objects.create(title=event.title)

        planned(swallow)
        publish([BookPlanned(title=str(number), plan="swallow") for number in range(8)])
        self.pipeline.run()
        self.assertEqual(self.titles(), [str(number) for number in range(8)])


class Databases(Deliveries):
    def test_a_connection_that_breaks_costs_no_attempt(self) -> None:
        if connection.vendor != "postgresql":
            self.skipTest("asks PostgreSQL")

        def be_cut_off(event: BookPlanned) -> None:
            Book.objects.create(title=event.title)
            log.append("cut")
            if log.count("cut") == 1:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_backend_pid()")
                    (process,) = cursor.fetchone()
                cut = threading.Thread(target=lambda: (terminate(process), connections.close_all()))
                cut.start()
                cut.join()
            Book.objects.create(title="Emma")

        outcomes = self.carry_out(be_cut_off)
        self.assertEqual(outcomes[0], "handed back")
        self.make_due()
        self.pipeline.run()
        self.assertEqual(self.titles(), ["Dune", "Emma"])
        self.assertEqual(Delivery.objects.get(handler="carry_out").state, "succeeded")

    def make_due(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {Delivery._meta.db_table} SET due_at = created_at WHERE state = 'pending'")

    def test_a_locked_file_is_no_failure_of_the_handler(self) -> None:
        if connection.vendor != "sqlite":
            self.skipTest("asks SQLite")

        def collide(event: BookPlanned) -> None:
            Copy.objects.count()  # reads first, and writes later, when another has written
            log.append("began")
            if log.count("began") == 1:
                other = threading.Thread(target=lambda: (Branchless.create(), connections.close_all()))
                other.start()
                other.join()
            Book.objects.create(title=event.title)

        self.assertEqual(self.carry_out(collide), ["succeeded"])
        self.assertEqual((self.titles(), log.count("began")), (["Dune", "of another"], 2))


class Branchless:
    @staticmethod
    def create() -> None:
        Book.objects.create(title="of another")


def terminate(process: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [process])
