"""Tables of the bookshop."""

from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=50, unique=True)
    facts = models.JSONField(default=dict)
    added_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.title


class Copy(models.Model):
    book = models.ForeignKey(Book, on_delete=models.CASCADE)
    by = models.CharField(max_length=50)

    def __str__(self) -> str:
        return f"{self.book_id} {self.by}"


class Branch(models.Model):
    """In the other database."""

    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name
