"""What a request is, to the byte: its digest, and the proofs that somebody who saw it said yes.

Everything that is hashed is a list of texts, each with its length of four bytes in front, so that no two different
lists give the same bytes. The service, the laptop and the page compute the same digest from the same words; the page's
side is described in ``docs/room-page.md``, and ``tests/consult/requests.json`` holds vectors for both.

Standard: FIPS 180-4 (SHA-256), RFC 2104 (HMAC), RFC 8032 (Ed25519, made elsewhere).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SECRET_BYTES",
    "decision_proof",
    "hold_proof",
    "is_decision_proof",
    "is_hold_proof",
    "new_secret",
    "request_digest",
    "secret_from_text",
    "signed_bytes",
    "text_from_secret",
]

SECRET_BYTES: Final = 32
"""The technician's page proves its decisions with a secret of this length, which only the QR code carried."""

_REQUEST: Final = "huizhen.request/1"
_DECISION: Final = "huizhen.decision/1"
_HOLD: Final = "huizhen.hold/1"
_SIGNED: Final = "huizhen.signed/1"


def _listed(*texts: str) -> bytes:
    """Texts as UTF-8, each behind its length in bytes (four bytes, big-endian)."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _flag(value: bool) -> str:
    return "1" if value else "0"


def request_digest(room: str, ident: str, ecu: str, data: bytes, *, hold: bool, risk: str) -> str:
    """SHA-256 (hex) over a request and the room it was asked in.

    Args:
        room: the room's name.
        ident: the request's id.
        ecu: the ECU's address as the report names it.
        data: the exact bytes, service id first.
        hold: it runs only while it is held.
        risk: its class, ``A`` to ``D``.
    """
    return hashlib.sha256(_listed(_REQUEST, room, ident, ecu, data.hex().upper(), _flag(hold), risk)).hexdigest()


def decision_proof(secret: bytes, *, digest: str, ident: str, decision: str, unplugged: bool) -> str:
    """HMAC-SHA-256 (hex) by which the laptop knows that its own technician's page decided."""
    words = _listed(_DECISION, digest, ident, decision, _flag(unplugged))
    return hmac.new(secret, words, hashlib.sha256).hexdigest()


def is_decision_proof(proof: str, secret: bytes, *, digest: str, ident: str, decision: str, unplugged: bool) -> bool:
    """Whether a proof is that of this decision on this request; compared in constant time."""
    right = decision_proof(secret, digest=digest, ident=ident, decision=decision, unplugged=unplugged)
    return hmac.compare_digest(right.encode(), proof.encode("utf-8", "surrogatepass"))


def hold_proof(secret: bytes, *, digest: str, ident: str, count: int) -> str:
    """HMAC-SHA-256 (hex) of one sign that the technician's hand is on what runs."""
    return hmac.new(secret, _listed(_HOLD, digest, ident, str(count)), hashlib.sha256).hexdigest()


def is_hold_proof(proof: str, secret: bytes, *, digest: str, ident: str, count: int) -> bool:
    """Whether a proof is that of this sign; compared in constant time."""
    right = hold_proof(secret, digest=digest, ident=ident, count=count)
    return hmac.compare_digest(right.encode(), proof.encode("utf-8", "surrogatepass"))


def new_secret() -> bytes:
    """A fresh secret for one room's technician."""
    return secrets.token_bytes(SECRET_BYTES)


def text_from_secret(secret: bytes) -> str:
    """As it stands behind the dot in a link's fragment: base64url without padding, 43 characters."""
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def secret_from_text(text: str) -> bytes:
    """The other way round.

    Raises:
        ValueError: no secret of the right length.
    """
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
    if len(secret) != SECRET_BYTES:
        raise ValueError(text)
    return secret


def signed_bytes(kind: str, body: Mapping[str, Any]) -> bytes:
    """What the laptop's Ed25519 key signs of an event: its kind and its body without the signature itself.

    Args:
        kind: ``decision`` or ``result``.
        body: the event's body; ``sig`` (hex, 64 bytes) is left out. The rest is JSON with sorted keys, without spaces,
            UTF-8. It holds the request's digest, which names room, request and bytes.
    """
    unsigned = {key: value for key, value in body.items() if key != "sig"}
    text = json.dumps(unsigned, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _listed(_SIGNED, kind, text)
