"""The laptop's own word in a room's record: its signatures inside decisions and results. No I/O."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consult.requestproof import signed_bytes
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LaptopWords", "check_laptop_words"]

_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64


@dataclass(slots=True)
class LaptopWords:
    """What the laptop signed.

    Attributes:
        signatures: public key -> good signatures.
        unsigned: decisions and results without a signature.
        faults: signatures that are not the laptop's, or of another request.
    """

    signatures: Counter[bytes] = field(default_factory=Counter)
    unsigned: int = 0
    faults: list[Text] = field(default_factory=list)

    def _fault(self, n: int, en: str, zh: str) -> None:
        self.faults.append(Text(f"event {n}: {en}", f"事件 {n}：{zh}"))

    def take(self, n: int, kind: str, body: dict[str, Any], digest: str | None, keys: list[bytes]) -> None:
        """One decision or result; ``digest`` is that of the request which it is about, where there was one."""
        if not body.get("sig"):
            self.unsigned += 1
            return
        signature = _from_hex(str(body["sig"]), _SIGNATURE_BYTES)
        owner = next((key for key in reversed(keys) if signature and _is_signed(key, signature, kind, body)), None)
        if owner is None:
            self._fault(n, f"the laptop did not sign this {kind}", "签名不属于技师电脑")
            return
        self.signatures[owner] += 1
        request = body.get("request")
        about = body.get("digest") or (request.get("digest") if isinstance(request, dict) else None)
        if about is not None and digest is not None and about != digest:
            self._fault(n, "it is signed for another request", "签名针对的是另一个请求")


def check_laptop_words(documents: Iterable[tuple[bytes]], events: Iterable[tuple[int, bytes]]) -> LaptopWords:
    """Checks all of a record's decisions and results by the keys that the laptop's agent announced.

    Args:
        documents: the bodies of the documents ``agent``, oldest first.
        events: number and body of all events, in order.
    """
    keys: list[bytes] = []
    for (raw,) in documents:
        told = _object(raw).get("key")
        if isinstance(told, str) and (key := _from_hex(told, _KEY_BYTES)) is not None and key not in keys:
            keys.append(key)
    words = LaptopWords()
    requests: dict[str, str] = {}
    for n, raw in events:
        event = _object(raw)
        kind, body = event.get("kind"), event.get("body")
        if not isinstance(body, dict):
            continue
        if kind == "request":
            requests[str(event.get("id"))] = str(body.get("digest"))
        elif kind in ("decision", "result"):
            words.take(n, str(kind), body, requests.get(str(event.get("id"))), keys)
    return words


def _is_signed(key: bytes, signature: bytes, kind: str, body: dict[str, Any]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed_bytes(kind, body))
    except (InvalidSignature, ValueError):
        return False
    return True


def _from_hex(text: str, size: int) -> bytes | None:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    return data if len(data) == size else None


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
