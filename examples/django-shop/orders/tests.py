"""Tests, as Django has them: no worker, and a transaction that is rolled back."""

from django.test import TestCase

from events.django.testing import published, run_pending
from orders.facts import OrderPlaced, StockReserved
from orders.models import Invoice, Stock


class Orders(TestCase):
    def test_an_order_is_an_event(self) -> None:
        answer = self.client.post("/orders", {"article": "lamp", "pieces": 2})
        self.assertEqual(answer.status_code, 201)
        self.assertEqual([(one.article, one.pieces) for one in published(OrderPlaced)], [("lamp", 2)])

    def test_it_is_reserved_and_invoiced(self) -> None:
        Stock.objects.create(article="lamp", pieces=10)
        self.client.post("/orders", {"article": "lamp", "pieces": 2})
        run_pending()
        self.assertEqual(Stock.objects.get().pieces, 8)
        self.assertEqual(len(published(StockReserved)), 1)
        self.assertEqual(Invoice.objects.count(), 1)
