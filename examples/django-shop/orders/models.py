"""Tables of the shop."""

from django.db import models


class Order(models.Model):
    article = models.CharField(max_length=50)
    pieces = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.pieces} x {self.article}"


class Stock(models.Model):
    article = models.CharField(max_length=50, unique=True)
    pieces = models.IntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.pieces} x {self.article}"


class Invoice(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)  # not unique: a second one would be seen

    def __str__(self) -> str:
        return f"invoice of {self.order_id}"
