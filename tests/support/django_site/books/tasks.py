"""Tasks, as django-tasks has them."""

from asgiref.sync import sync_to_async
from django_tasks import TaskContext, task

from books.models import Book


@task
def list_book(title: str, *, pages: int = 1) -> dict[str, object]:
    book = Book.objects.create(title=title, facts={"pages": pages})
    return {"title": book.title, "pages": pages}


@task
async def list_book_async(title: str) -> None:
    await sync_to_async(Book.objects.create)(title=title)


@task
def burn_book(title: str) -> None:
    Book.objects.create(title=title)
    raise LookupError(f"no {title}")


@task(takes_context=True)
def who(context: TaskContext) -> list[object]:
    return [context.task_result.id, context.attempt]


@task
def give_back_nonsense() -> object:
    return object()
