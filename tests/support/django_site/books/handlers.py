"""Handlers of the bookshop: found by their module's name."""

from django.db import transaction
from sqlalchemy import text
from sqlalchemy.orm import Session

from books.happenings import BookAwaited, BookListed, BookPlanned, BookPraised, BookShared
from books.models import Book, Copy
from books.planning import log, plans
from events import Retry, handles, publish, seconds


@handles(BookListed)
def order_copy(event: BookListed) -> None:
    book = Book.objects.get(title=event.title)
    Copy.objects.create(book=book, by="order_copy")
    publish(BookPraised(title=event.title, reader="Paul"))
    transaction.on_commit(lambda: log.append(f"ordered {event.title}"))


@handles(BookPlanned, retry=Retry(max_attempts=2, backoff=seconds(0.01)))
def carry_out(event: BookPlanned) -> None:
    plans[event.plan](event)


@handles(BookPlanned, name="count_plans", batch=10)
def count_plans(events: list[BookPlanned]) -> None:
    log.append(f"counted {len(events)}")


@handles(BookShared)
def count_by_session(event: BookShared, session: Session) -> None:
    Book.objects.create(title=event.title)
    seen = session.scalar(text("SELECT count(*) FROM books_book WHERE title = :title"), {"title": event.title})
    session.execute(text("UPDATE books_book SET title = title || ' of a session'"))
    log.append(f"{seen} {Book.objects.get().title}")


@handles(BookAwaited, retry=Retry(max_attempts=2, backoff=seconds(0.01)))
async def carry_out_async(event: BookAwaited) -> None:
    await plans[event.plan](event)
