"""What of urllib3 we lean on beyond its documentation."""

import urllib3

from events.bridges.http.requests import Client, Connection, TLSConnection
from support.seam_checks import Library

URLLIB3 = Library("urllib3")


def test_a_pool_manager_makes_connections_of_our_classes() -> None:
    leans = "requests over HTTP, each within a time of its own"
    URLLIB3.has(urllib3.PoolManager(), "pool_classes_by_scheme", leans)
    URLLIB3.has(urllib3.HTTPConnectionPool, "ConnectionCls", leans)
    for scheme, kind in (("http", Connection), ("https", TLSConnection)):
        # Given a client
        client = Client(f"{scheme}://host/", "shown", 1.0, 1)
        # When it would connect, then by a connection of ours
        pool = client._pool.connection_from_url(f"{scheme}://host/")
        URLLIB3.keeps(type(pool._new_conn()) is kind, f"a pool makes a connection of our class, by {scheme}", leans)
        client.close()
