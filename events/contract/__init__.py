"""The contract with other services: the catalog of events and handlers, and integration events as AsyncAPI.

May import: pipeline and what is below. Open first: `catalog`.
"""

from events.contract.asyncapi import document
from events.contract.catalog import Catalog, CatalogEvent, collect
from events.contract.page import as_page
from events.contract.routes import routes_of

__all__ = [
    "Catalog",
    "CatalogEvent",
    "as_page",
    "collect",
    "document",
    "routes_of",
]
