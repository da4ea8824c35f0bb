"""Requests that a workshop signs: by its Ed25519 key, over what it asks, of whom, and when.

``Huizhen-Site`` (public key), ``Huizhen-Time`` (UTC seconds), ``Huizhen-Nonce`` (16 random bytes), ``Huizhen-Body``
(SHA-256 of the body, hex) and ``Huizhen-Signature``. The head alone proves who asks, so that nothing of a stranger's
body is read. Pure: no clock, no I/O.

Standard: RFC 8032 (Ed25519), RFC 4648 §5 (base64url, without padding).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from casebase.sharedfile import parse_site
from casebase.sharing import encoded, site_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLOCKS_S", "SiteProof", "body_digest", "is_signed_by", "parse_proof", "sign_hex", "signed_headers"]

CLOCKS_S: Final = 300
"""How far the clocks of workshop and service may be apart; nonces are remembered for twice as long."""
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_TIME: Final = re.compile(r"[0-9]{1,12}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class SiteProof:
    """What the head of a request says of who asks; worth nothing before :meth:`is_of`.

    Args:
        site: public key, 32 bytes. t_s: UTC seconds. digest: SHA-256 of the body, hex.
    """

    site: bytes
    t_s: int
    nonce: str
    digest: str
    signature: bytes

    def is_of(self, service: str, method: str, path: str) -> bool:
        """Whether the key signed this very request, for this very service."""
        message = _message(service, method, path, self.digest, self.t_s, self.nonce)
        try:
            Ed25519PublicKey.from_public_bytes(self.site).verify(self.signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def body_digest(body: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(body).hexdigest()


def _message(service: str, method: str, path: str, digest: str, t_s: int, nonce: str) -> bytes:
    return "\n".join(("huizhen-site/1", service, method, path, digest, str(t_s), nonce)).encode()


def signed_headers(
    private: bytes, *, service: str, method: str, path: str, body: bytes, t_s: int, nonce: str
) -> dict[str, str]:
    """The head of a request.

    Args:
        private: the site's key.
        service: the service's public key as text; empty before the site knows it.
        method: in capitals.
        path: with its query.
        body: as it is sent.
        t_s: UTC seconds.
        nonce: 22 characters of base64url, never used before.
    """
    digest = body_digest(body)
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(_message(service, method, path, digest, t_s, nonce))
    return {
        "Huizhen-Site": encoded(site_of(private)),
        "Huizhen-Time": str(t_s),
        "Huizhen-Nonce": nonce,
        "Huizhen-Body": digest,
        "Huizhen-Signature": signature.hex(),
    }


def parse_proof(headers: Mapping[str, str]) -> SiteProof | None:
    """What a head says; None where a part is missing or has another form."""
    site = parse_site(headers.get("Huizhen-Site", ""))
    told = [headers.get(f"Huizhen-{name}", "") for name in ("Time", "Nonce", "Body", "Signature")]
    forms = (_TIME, _NONCE, _DIGEST, _SIGNATURE)
    if site is None or not all(form.fullmatch(text) for form, text in zip(forms, told, strict=True)):
        return None
    return SiteProof(site, int(told[0]), told[1], told[2], bytes.fromhex(told[3]))


def sign_hex(private: bytes, data: bytes) -> str:
    """The signature of bytes, as hex."""
    return Ed25519PrivateKey.from_private_bytes(private).sign(data).hex()


def is_signed_by(public: str, signature: object, data: bytes) -> bool:
    """Whether a key, as text, signed bytes."""
    site = parse_site(public)
    if site is None or not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(site).verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True
