"""The backend for `django.tasks`: an enqueued task shares the fate of its transaction, and runs as a handler does."""

from typing import Any
from uuid import uuid4

from django.db import transaction
from django.test import TransactionTestCase
from django_tasks import TaskResultStatus, default_task_backend
from django_tasks.exceptions import InvalidTaskError, TaskResultDoesNotExist
from django_tasks.signals import task_enqueued, task_finished, task_started

from books.happenings import BookListed
from books.models import Book
from books.tasks import burn_book, give_back_nonsense, list_book, list_book_async, who
from events import publish
from events.current_pipeline import get_pipeline
from events.django.models import DeadLetter, Event, TaskReturn
from events.django.task_backend import TaskEnqueued
from events.django.testing import published, run_pending
from events.ledger import DeadLetterFilter


class Tasks(TransactionTestCase):
    def test_it_runs_and_its_result_is_kept(self) -> None:
        result = list_book.enqueue("Dune", pages=412)
        self.assertEqual((result.status, result.is_finished, result.attempts), (TaskResultStatus.READY, False, 0))
        self.assertEqual(list_book.get_result(result.id), result)
        run_pending()
        result.refresh()
        self.assertEqual(result.status, TaskResultStatus.SUCCESSFUL)
        self.assertEqual(result.return_value, {"title": "Dune", "pages": 412})
        self.assertEqual((result.args, result.kwargs, result.attempts), (["Dune"], {"pages": 412}, 1))
        self.assertLessEqual(result.enqueued_at, result.started_at)
        self.assertLessEqual(result.started_at, result.finished_at)
        self.assertEqual(Book.objects.get().title, "Dune")

    def test_returns_of_events_that_are_gone_can_be_told(self) -> None:
        list_book.enqueue("Dune")
        run_pending()
        TaskReturn.objects.create(event_id=uuid4(), value=1)
        TaskReturn.objects.exclude(event_id__in=Event.objects.values("id")).delete()
        self.assertEqual([kept.value["title"] for kept in TaskReturn.objects.all()], ["Dune"])

    def test_rolled_back_it_was_never_enqueued(self) -> None:
        with transaction.atomic():
            result = list_book.enqueue("Dune")
            transaction.set_rollback(True)
        self.assertEqual((published(TaskEnqueued), run_pending()), ([], []))
        with self.assertRaises(TaskResultDoesNotExist):
            list_book.get_result(result.id)

    def test_one_that_fails_leaves_its_error_and_nothing_else(self) -> None:
        result = burn_book.enqueue("Dune")
        with self.assertLogs("django_tasks", "ERROR"):
            attempts = run_pending(raises=False)
        self.assertEqual(len(attempts), 1)  # it isn't tried again by itself
        result.refresh()
        self.assertEqual(result.status, TaskResultStatus.FAILED)
        self.assertEqual([error.exception_class for error in result.errors], [LookupError])
        self.assertIn("LookupError: no Dune", result.errors[0].traceback)
        self.assertEqual((Book.objects.count(), DeadLetter.objects.get().handler), (0, "django_task"))

    def test_replayed_it_may_succeed(self) -> None:
        result = list_book.enqueue("Dune")
        Book.objects.create(title="Dune")
        with self.assertLogs("django_tasks", "ERROR"):
            run_pending(raises=False)
        Book.objects.all().delete()
        get_pipeline().dead_letters.replay(DeadLetterFilter(), "ada")
        run_pending()
        result.refresh()
        self.assertEqual((result.status, result.attempts), (TaskResultStatus.SUCCESSFUL, 2))

    def test_of_async_functions_the_orm_is_in_the_transaction_too(self) -> None:
        result = list_book_async.enqueue("Dune")
        run_pending()
        result.refresh()
        self.assertEqual((result.return_value, Book.objects.count(), TaskReturn.objects.count()), (None, 1, 0))

    async def test_it_is_enqueued_on_an_event_loop(self) -> None:
        result = await list_book.aenqueue("Dune")
        again = await default_task_backend.aget_result(result.id)
        self.assertEqual(again, result)

    def test_it_may_know_its_context(self) -> None:
        result = who.enqueue()
        run_pending()
        result.refresh()
        self.assertEqual(result.return_value, [result.id, 1])

    def test_a_result_that_is_no_json_is_a_failure(self) -> None:
        result = give_back_nonsense.enqueue()
        with self.assertLogs("django_tasks", "ERROR"):
            run_pending(raises=False)
        result.refresh()
        self.assertEqual(result.errors[0].exception_class, TypeError)

    def test_signals(self) -> None:
        seen: list[Any] = []

        def note(signal: Any, task_result: Any, **_: Any) -> None:
            seen.append(task_result.status)

        signals = (task_enqueued, task_started, task_finished)
        for signal in signals:
            signal.connect(note)
        try:
            list_book.enqueue("Dune")
            run_pending()
        finally:
            for signal in signals:
                signal.disconnect(note)
        self.assertEqual(seen, [TaskResultStatus.READY, TaskResultStatus.RUNNING, TaskResultStatus.SUCCESSFUL])

    def test_other_ids_are_no_results(self) -> None:
        event = BookListed(title="Dune")
        publish(event)
        for wrong in ("123", str(uuid4()), str(event.event_id)):
            with self.assertRaises(TaskResultDoesNotExist):
                default_task_backend.get_result(wrong)

    def test_what_is_not_supported_is_refused(self) -> None:
        with self.assertRaisesMessage(InvalidTaskError, "does not support setting priority"):
            list_book.using(priority=5)
        self.assertEqual(list(default_task_backend.check()), [])
