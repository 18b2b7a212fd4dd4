"""What lies on the shelves: six tasks."""

from celery import shared_task

from shop.models import Product, db


@shared_task
def add_product(name: str, price: int, stock: int) -> str:
    db.session.add(Product(name=name, price=price, stock=stock))
    db.session.commit()
    return name


@shared_task
def all_added(names: list[str]) -> list[str]:
    return sorted(names)


@shared_task
def count_stock(name: str) -> str:
    """Beat sends it each second."""
    return f"counted {name}" if db.session.get(Product, name) else f"no {name} yet"


@shared_task
def reorder(name: str) -> int:
    """The end of another task sends it."""
    return max(0, 10 - db.session.get_one(Product, name).stock)


@shared_task
def price_of(name: str, quantity: int) -> int:
    return db.session.get_one(Product, name).price * quantity


@shared_task
def sum_prices(prices: list[int]) -> int:
    return sum(prices)
