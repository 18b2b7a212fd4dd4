"""Views that publish."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from books.happenings import BookListed
from books.models import Book
from events import publish, publish_async


def listed(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        Book.objects.create(title=request.GET["title"])
        publish(BookListed(title=request.GET["title"]))
    return HttpResponse("ok")


def listed_by_request(request: HttpRequest) -> HttpResponse:
    """With ATOMIC_REQUESTS the request is the transaction."""
    Book.objects.create(title=request.GET["title"])
    publish(BookListed(title=request.GET["title"]))
    if "fail" in request.GET:
        raise ValueError("after publish()")
    return HttpResponse("ok")


async def listed_async(request: HttpRequest) -> HttpResponse:
    def store() -> None:
        with transaction.atomic():
            Book.objects.create(title=request.GET["title"])
            publish(BookListed(title=request.GET["title"]))

    await sync_to_async(store)()
    await publish_async(BookListed(title=request.GET["title"]))
    return HttpResponse("ok")


async def listed_on_the_loop(request: HttpRequest) -> HttpResponse:
    publish(BookListed(title=request.GET["title"]))
    return HttpResponse("never")


urlpatterns: list[Any] = [
    path("admin/", admin.site.urls),
    path("listed", listed),
    path("listed-by-request", listed_by_request),
    path("listed-async", listed_async),
    path("listed-on-the-loop", listed_on_the_loop),
]
