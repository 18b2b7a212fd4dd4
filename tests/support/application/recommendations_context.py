"""Another context: recommendations. It has a ledger of its own, and knows the library by its public events alone."""

from uuid import UUID

from sqlalchemy import Connection, insert
from tables_of_contexts import offers

from events import DomainEvent, IntegrationEvent, handles, publish, translates


class OfferFromLibrary(IntegrationEvent, name="library.card-offered.v1", aggregate_id="card"):
    card: str


class CardLiked(DomainEvent, aggregate_id="card"):
    card: str
    because_of: UUID


class CardRecommended(IntegrationEvent, name="recommendations.card-recommended.v1", aggregate_id="card"):
    card: str


@handles(OfferFromLibrary)
def like(event: OfferFromLibrary, connection: Connection) -> None:
    connection.execute(insert(offers).values(card=event.card))
    publish(CardLiked(card=event.card, because_of=event.event_id))


@translates(CardLiked)
def recommend(event: CardLiked) -> CardRecommended:
    return CardRecommended(card=event.card)
