"""STUN and TURN servers for the live edge: what a viewer and our own end of its connection are told. No I/O, no clock.

Standard: coturn's ``use-auth-secret`` (draft-uberti-behave-turn-rest-00): the user name is the second at which it ends,
a colon and who it is for; the password is Base64 of HMAC-SHA1 over that by the secret which service and relay share.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consult.serviceconfig import IceServer

__all__ = ["CREDENTIAL_LIFE_S", "has_relay", "servers_for", "turn_credential"]

CREDENTIAL_LIFE_S: Final = 6 * 3600
"""A relay checks it when an allocation is made or refreshed: it must outlast a consultation, not a working day."""


def turn_credential(secret: str, who: str, expires_s: int) -> tuple[str, str]:
    """User name and password that end by themselves. ``expires_s``: UTC seconds since the Unix epoch."""
    username = f"{expires_s}:{who}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def servers_for(servers: Sequence[IceServer], who: str, now_us: int) -> list[dict[str, Any]]:
    """The servers as ``RTCIceServer`` takes them, with credentials for one person.

    Args:
        servers: as the service's owner named them.
        who: names the person for the relay's log; neither a name nor a colon.
        now_us: UTC microseconds.
    """
    told: list[dict[str, Any]] = []
    for server in servers:
        entry: dict[str, Any] = {"urls": list(server.urls)}
        if server.secret:
            made = turn_credential(server.secret, who, now_us // 1_000_000 + CREDENTIAL_LIFE_S)
            entry["username"], entry["credential"] = made
        elif server.username:
            entry["username"], entry["credential"] = server.username, server.credential
        told.append(entry)
    return told


def has_relay(servers: Sequence[dict[str, Any]]) -> bool:
    """Whether a TURN server is among them."""
    return any(url.startswith(("turn:", "turns:")) for server in servers for url in server["urls"])
