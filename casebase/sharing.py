"""What one workshop tells another: how often its fixes worked and what was seen with them, as noised, signed counts.

A document ``huizhen.counts/1`` holds no case. It counts *cars*, so that one car moves a number by one at most, and
nothing that fewer than ``k`` cars showed is in it. Each number gets two-sided geometric noise, which is drawn from a
secret of the library over the very number, so that asking again gives no second draw. ``docs/case-library.md`` says
what this guarantees and what it does not.

``{"schema", "site", "made", "epsilon", "k", "patterns": [{"component", "failure_mode", "action", "scope", "title",
"fix", "cases", "worked", "failed", "terms": {term: count}}], "signature"}``

Pure: no clock, no file. Reading stands in :mod:`casebase.sharedfile`.

Standard: RFC 8032 (Ed25519), RFC 4648 §5 (base64url, without padding), FIPS 198-1 (HMAC); Ghosh, Roughgarden and
Sundararajan 2009 (the geometric mechanism).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from casebase.folding import fold
from casebase.query import ROLE_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from casebase.record import Pattern

__all__ = [
    "EPSILON",
    "LEAST_CARS",
    "LONGEST",
    "MOST_PATTERNS",
    "MOST_TERMS",
    "SCHEMA",
    "CountsDocument",
    "OwnPattern",
    "SharedPattern",
    "canonical",
    "encoded",
    "fingerprint",
    "is_clean",
    "is_term",
    "new_site_key",
    "noise_of",
    "published",
    "signed",
    "site_of",
]

SCHEMA: Final = "huizhen.counts/1"
EPSILON: Final = 1.0
"""Privacy loss of each single number."""
LEAST_CARS: Final = 5
"""``k``: what fewer cars showed is never told."""
LONGEST: Final = 400
"""Characters of a text."""
MOST_PATTERNS: Final = 50_000
MOST_TERMS: Final = 2000
"""Of one pattern: the most frequent."""
WORKED: Final = "worked"
FAILED: Final = "failed"
"""What noise is drawn for, besides terms, which all have a ``|``."""

_CODE: Final = r"(?:[PCBU][0-3][0-9A-F]{3}|SPN [0-9]{1,6} FMI [0-9]{1,2})"
_ROLE: Final = f"(?:{'|'.join(ROLE_WORDS)})"
_NAME: Final = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"
_TERM: Final = re.compile(
    rf"d1\|{_CODE}|d2\|{_ROLE}\|{_CODE}|d3\|{_ROLE}\|{_CODE}\|[0-9A-F]{{2}}|s\|{_ROLE}"
    rf"|g\|{_NAME}(?:\.{_NAME})*|c\|{_NAME}|f\|[a-z][a-z0-9_]*\|(?:good|watch|fault)|w\|#{_NAME}"
)
_LONGEST_TERM: Final = 80
_PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_SOMEBODY: Final = re.compile(
    r"(?<![a-z0-9])(?=[a-z]*[0-9])[a-hj-npr-z0-9]{17}(?![a-z0-9])"  # a VIN
    r"|[0-9]{7}|@"  # a telephone number, an address
    rf"|[{_PROVINCES}][a-z][· -]?(?=[a-z]*[0-9])[a-z0-9]{{5,6}}(?![a-z0-9])"  # a number plate
)
"""Shapes that name a car or a person."""


@dataclass(frozen=True, slots=True)
class OwnPattern:
    """What this library's real, closed jobs say of one fix, exactly; it never leaves.

    Args:
        pattern: identity and words.
        cars: how many different ones the fix was tried on.
        worked, failed: on how many cars it cured the fault, and did not.
        terms: of the cured cars: on how many a term was seen, and how much of them all that counts as, rounded so that
            one car moves it by one at most.
    """

    pattern: Pattern
    cars: int
    worked: int
    failed: int
    terms: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class SharedPattern:
    """What a document says of one fix, noised.

    Args:
        worked, failed: see :class:`OwnPattern`; together they are ``cases``.
        terms: term -> on how many of the cured cars.
    """

    pattern: Pattern
    worked: int
    failed: int
    terms: Mapping[str, int]

    @property
    def cases(self) -> int:
        """How many ends stand behind it."""
        return self.worked + self.failed

    def to_json(self) -> dict[str, Any]:
        """One entry of ``patterns``."""
        told = self.pattern
        return {
            "component": told.component, "failure_mode": told.failure_mode, "action": told.action,
            "scope": told.scope.to_json(), "title": told.title.to_json(), "fix": told.fix.to_json(),
            "cases": self.cases, "worked": self.worked, "failed": self.failed, "terms": dict(self.terms),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class CountsDocument:
    """One site's counts.

    Args:
        site: the public key that signs them, 32 bytes.
        made: when, with its zone.
        epsilon: of the noise of each number.
        k: the least number of cars behind anything in it.
    """

    site: bytes
    made: datetime
    epsilon: float
    k: int
    patterns: tuple[SharedPattern, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it but the signature."""
        return {
            "schema": SCHEMA,
            "site": encoded(self.site),
            "made": self.made.isoformat(timespec="microseconds"),
            "epsilon": self.epsilon,
            "k": self.k,
            "patterns": [pattern.to_json() for pattern in self.patterns],
        }


def encoded(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def canonical(told: object) -> bytes:
    """JSON with sorted keys and no blanks, UTF-8: what is signed.

    Raises:
        ValueError: a number is not finite, or a text holds half a surrogate pair.
    """
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint(site: bytes) -> str:
    """A key as people compare it, the same as of session bundles: 16 hex digits of its SHA-256 in groups of four."""
    digits = hashlib.sha256(site).hexdigest()[:16].upper()
    return " ".join(digits[at : at + 4] for at in range(0, 16, 4))


def new_site_key() -> bytes:
    """A new Ed25519 private key, 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes_raw()


def site_of(private: bytes) -> bytes:
    """The public key of a private one."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def signed(document: CountsDocument, private: bytes) -> dict[str, Any]:
    """The document's JSON with its signature."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    told = document.to_json()
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(canonical(told))
    return {**told, "signature": encoded(signature)}


def is_term(term: str) -> bool:
    """Whether a term may be shared: codes, silence, findings, causes, bins of figures, concepts; never free words."""
    return len(term) <= _LONGEST_TERM and _TERM.fullmatch(term) is not None and not _SOMEBODY.search(fold(term))


def is_clean(texts: Iterable[str]) -> bool:
    """Whether texts can be shown as they are, and hold nothing of the shape of a VIN, a plate or a telephone number."""
    return all(
        0 < len(text) <= LONGEST and text.isprintable() and not text.isspace() and not _SOMEBODY.search(fold(text))
        for text in texts
    )


def noise_of(secret: bytes, identity: object, term: str, count: int, epsilon: float) -> int:
    """Two-sided geometric noise, ``P(z) ~ exp(-epsilon |z|)``; always the same for the same number.

    Args:
        secret: that only this library has.
        identity: of the fix.
        term: what was counted.
        count: exactly.
        epsilon: another one is another draw, so that the difference of two documents does not give the count away.
    """
    digest = hmac.new(secret, canonical([identity, term, count, epsilon]), hashlib.sha256).digest()
    up, down = (
        math.floor(-math.log((int.from_bytes(digest[at : at + 8], "big") + 1) / 2.0**64) / epsilon) for at in (0, 8)
    )
    return up - down


def published(own: OwnPattern, secret: bytes, *, epsilon: float = EPSILON, k: int = LEAST_CARS) -> SharedPattern | None:
    """What may be told of a fix; None where too few cars stand behind it, before the noise or after.

    ``worked`` and ``failed`` are told however small they become, because to leave failures out would be to boast.
    """
    told = own.pattern
    scope = told.scope
    names = [name for name in (scope.make, scope.model) if name]
    words = (told.component, told.failure_mode, told.action, told.title.en, told.title.zh, told.fix.en, told.fix.zh)
    if own.cars < k or not is_clean([*words, *names]) or any(fold(word) != word for word in words[:3]):
        return None
    identity = [told.component, told.failure_mode, told.action, scope.to_json()]

    def noised(term: str, count: int) -> int:
        return max(0, count + noise_of(secret, identity, term, count, epsilon))

    worked, failed = noised(WORKED, own.worked), noised(FAILED, own.failed)
    if worked + failed < k:
        return None
    terms = {
        term: min(noised(term, count), worked)
        for term, (cars, count) in own.terms.items()
        if cars >= k and is_term(term)
    }
    kept = sorted((-count, term) for term, count in terms.items() if count >= k)[:MOST_TERMS]
    return SharedPattern(told, worked, failed, {term: -count for count, term in sorted(kept, key=lambda one: one[1])})
