"""A context of its own: the library. Its cards are its own affair; that one was added is told to others."""

from sqlalchemy import Connection, insert
from tables_of_contexts import recommended

from events import DomainEvent, IntegrationEvent, handles, translates


class CardShelved(DomainEvent, aggregate_id="card"):
    """Private: nobody else hears of the shelf."""

    card: str
    shelf: int


class CardOffered(IntegrationEvent, name="library.card-offered.v1", aggregate_id="card"):
    card: str


class TheirRecommendation(IntegrationEvent, name="recommendations.card-recommended.v1", aggregate_id="card"):
    """What the other context says, as far as it matters here."""

    card: str


@translates(CardShelved)
def offer(event: CardShelved) -> CardOffered:
    return CardOffered(card=event.card)


@handles(TheirRecommendation)
def note_recommendation(event: TheirRecommendation, connection: Connection) -> None:
    connection.execute(insert(recommended).values(card=event.card))
