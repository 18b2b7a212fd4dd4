"""What the shop remembers."""

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Product(db.Model):
    name: Mapped[str] = mapped_column(primary_key=True)
    price: Mapped[int]
    stock: Mapped[int]


class Order(db.Model):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    state: Mapped[str] = mapped_column(default="placed")
    lines: Mapped[list["Line"]] = relationship(order_by="Line.id")

    @property
    def total(self) -> int:
        return sum(line.quantity * line.price for line in self.lines)


class Line(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey(Order.id))
    product: Mapped[str] = mapped_column(ForeignKey(Product.name))
    quantity: Mapped[int]
    price: Mapped[int]
    is_packed: Mapped[bool] = mapped_column(default=False)


class Mail(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    to: Mapped[str]
    subject: Mapped[str]


class Heartbeat(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
