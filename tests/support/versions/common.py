"""What both versions of the application share."""

from os import environ
from pathlib import Path

from sqlalchemy import Connection, insert

import shop
from events import Delivery


def done(connection: Connection, delivery: Delivery, version: str) -> None:
    with Path(environ["SHOP_STARTS"]).open("a") as file:
        file.write(f"{delivery.event_id} {delivery.handler} {delivery.attempt} {version}\n")
    connection.execute(
        insert(shop.effects).values(event_id=str(delivery.event_id), handler=delivery.handler, note=version)
    )
