"""The team's plain tasks."""

import time
from pathlib import Path
from typing import Any

from celery import shared_task

from market.celery import app
from market.noted import note


@app.task
def add(left: int, right: int) -> int:
    return left + right


@shared_task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def slowly(release: str) -> str:
    """Runs until the file is there."""
    while not Path(release).exists():
        time.sleep(0.05)
    return "released"


@app.task(bind=True, max_retries=3)
def at_last(self: Any, succeeds_on: int) -> int:
    if self.request.retries + 1 < succeeds_on:
        raise self.retry(countdown=0.1 and 1)
    return int(self.request.retries) + 1


@app.task
def fails() -> None:
    raise ValueError("no")


@app.task
def tick() -> None:
    note("ticked")
