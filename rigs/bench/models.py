"""The tables of both sides; nothing here knows of events, or plain Celery's worker would carry them in its memory."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Identity, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

COPIES = 3  # handlers of each event


class Base(DeclarativeBase):
    pass


class Effect(Base):
    """What a handler wrote. No unique key would refuse a second one: that is what is counted in the end."""

    __tablename__ = "bench_effects"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    handler: Mapped[str] = mapped_column(String(50))
    number: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class Order(Base):
    """A business row."""

    __tablename__ = "bench_orders"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    customer: Mapped[str] = mapped_column(String(100))


def names(kind: str) -> list[str]:
    """The handlers of a kind of event."""
    return [f"{kind}.{copy}" for copy in range(1 if kind in ("Awaiting", "Timed") else COPIES)]
