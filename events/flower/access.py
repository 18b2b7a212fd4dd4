"""Who may act on our pages, and under which name: what Flower's login says, and nothing of our own."""

import base64
import binascii
from typing import Any

LONGEST = 255  # characters of an actor, in the ledger
ENABLE = "start Flower with --basic-auth=NAME:PASSWORD, or with --auth and an --auth-provider"


def why_actions_are_off(options: Any) -> str | None:
    """Of Flower's options: why nobody may; None if whoever is logged in may."""
    if options.read_only:
        return "This Flower is read-only: it was started with --read-only."
    if not (options.basic_auth or options.auth):
        return f"This Flower has no login, so that everybody may look and nobody may act: {ENABLE}."
    return None


def actor(options: Any, user: Any, authorization: str) -> str:
    """Who stands in the history: alice@flower of basic authentication, the address of the account with OAuth.

    Args:
        user: Flower's `current_user`: it has checked who it is.
        authorization: the header, by which Flower knows somebody when there are only passwords.
    """
    name = str(user) if options.auth else f"{_basic_name(authorization)}@flower"
    return name[:LONGEST]


def _basic_name(authorization: str) -> str:
    try:
        return base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return "unknown"
