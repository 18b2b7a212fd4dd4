"""Who may act on our pages, and under which name. Flower's login decides; the pages have no login of their own."""

import base64
import binascii
from typing import Any

LONGEST = 255  # characters of an actor's name, in the ledger
ENABLE = "start Flower with --basic-auth=NAME:PASSWORD, or with --auth and an --auth-provider"


def why_actions_are_off(options: Any) -> str | None:
    """Why no user of a Flower with these options may act; None if every user who is logged in may."""
    if options.read_only:
        return "This Flower is read-only: it was started with --read-only."
    if not (options.basic_auth or options.auth):
        return f"This Flower has no login, so everybody may look at its pages, and nobody may act: {ENABLE}."
    return None


def actor(options: Any, user: Any, authorization: str) -> str:
    """The operator's name for the history: alice@flower with basic authentication, the account's address with OAuth.

    Args:
        user: Flower's `current_user`, whose password or account Flower has checked.
        authorization: the header of the request, which holds the name with basic authentication.
    """
    name = str(user) if options.auth else f"{_basic_name(authorization)}@flower"
    return name[:LONGEST]


def _basic_name(authorization: str) -> str:
    try:
        return base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return "unknown"
