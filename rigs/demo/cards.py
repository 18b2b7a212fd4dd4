"""The cards: real rows of a public list, and the transaction that adds one and publishes its event."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from events import publish
from handlers.library import Card, CardAddedToLibraryEvent, Follower, Library

CARDS = Path(__file__).resolve().parent / "data" / "cards.jsonl"
NAMES = ("Ada", "Grace", "Edsger")


@dataclass
class Shelf:
    """What this run adds. Its libraries are new in every run, so runs in one database don't mix."""

    rows: list[dict[str, str]]
    libraries: dict[str, UUID]
    followers: dict[UUID, int]
    committed: dict[UUID, datetime] = field(default_factory=dict)  # event id -> when its transaction had committed

    @property
    def refusals(self) -> dict[tuple[str, str], int]:
        """What the handlers must refuse of these rows, counted from the rows alone: (handler, error) -> how many."""
        same = Counter((row["library"], row["url"]) for row in self.rows)
        wanted = {
            ("add_to_feed", "AlreadyInFeed"): sum(count - 1 for count in same.values()),
            ("notify_followers", "InsecureLink"): sum(not row["url"].startswith("https:") for row in self.rows),
        }
        return {key: count for key, count in wanted.items() if count}

    def add_all(self, engine: Engine) -> Iterator[UUID]:
        """Add card after card, each in its own transaction with its event; yields the event's id once it committed."""
        for row in self.rows:
            with Session(engine) as session, session.begin():
                card = Card(
                    id=uuid4(),
                    library_id=self.libraries[row["library"]],
                    title=row["title"],
                    url=row["url"],
                    added_by="EbookFoundation",
                )
                event = CardAddedToLibraryEvent(
                    card_id=card.id, library_id=card.library_id, title=card.title, url=card.url, added_by=card.added_by
                )
                session.add(card)
                publish(event, session=session)
            self.committed[event.event_id] = datetime.now(UTC)
            yield event.event_id


def stock(engine: Engine, limit: int | None) -> Shelf:
    """Read the cards and create their libraries, each with one to three followers."""
    with CARDS.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:limit]
    libraries = {name: uuid4() for name in dict.fromkeys(row["library"] for row in rows)}
    followers = {key: 1 + index % len(NAMES) for index, key in enumerate(libraries.values())}
    with Session(engine) as session, session.begin():
        session.add_all(Library(id=key, name=name) for name, key in libraries.items())
        session.flush()
        session.add_all(
            Follower(library_id=key, name=name) for key, count in followers.items() for name in NAMES[:count]
        )
    return Shelf(rows, libraries, followers)
