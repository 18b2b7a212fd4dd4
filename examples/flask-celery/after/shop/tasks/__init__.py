"""The shop's thirty tasks."""

from shop.tasks import mail, orders, reports, stock, upkeep

__all__ = ["mail", "orders", "reports", "stock", "upkeep"]
