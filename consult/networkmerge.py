"""Counts of several workshops as one document. Pure.

Numbers are added as they were told, with the noise that each workshop drew: what is made of noised numbers alone says
no more of a car than they do. ``docs/adr/0021-network-memory.md`` says what that means for epsilon and for k.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from casebase.sharing import (
    LEAST_CARS,
    MOST_PATTERNS,
    MOST_TERMS,
    SCHEMA,
    CountsDocument,
    SharedPattern,
    canonical,
    encoded,
    site_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from casebase.record import Pattern

__all__ = ["merged", "reviewed_document"]

_MOST: Final = 10_000_000
_NO_NOISE: Final = 100.0


def merged(documents: Sequence[CountsDocument], site: bytes, made: datetime) -> CountsDocument:
    """All of them together.

    Args:
        documents: at most one of each workshop.
        site: the public key that will sign it.
        made: when what it is made of changed last.

    Returns:
        Its epsilon is the weakest of theirs, its k the lowest.
    """
    told: dict[tuple[object, ...], list[SharedPattern]] = {}
    for document in documents:
        for shared in document.patterns:
            told.setdefault(shared.pattern.key, []).append(shared)
    patterns = sorted((_sum(same) for same in told.values()), key=lambda one: (-one.cases, repr(one.pattern.key)))
    return CountsDocument(
        site,
        made,
        max((document.epsilon for document in documents), default=1.0),
        min((document.k for document in documents), default=LEAST_CARS),
        tuple(patterns[:MOST_PATTERNS]),
    )


def _sum(same: Sequence[SharedPattern]) -> SharedPattern:
    terms: Counter[str] = Counter()
    for shared in same:
        terms.update(shared.terms)
    worked = min(_MOST, sum(shared.worked for shared in same))
    kept = sorted(terms.items(), key=lambda item: (-item[1], item[0]))[:MOST_TERMS]
    return SharedPattern(
        _said_by_most([shared.pattern for shared in same]),
        worked,
        min(_MOST, sum(shared.failed for shared in same)),
        {term: min(count, worked) for term, count in sorted(kept)},
    )


def _said_by_most(patterns: Iterable[Pattern]) -> Pattern:
    """One fix's words: those of most workshops, so that no single one puts its words into the mouths of all."""
    counted = Counter(patterns)
    return min(counted, key=lambda one: (-counted[one], one.title.en, one.title.zh, one.fix.en, one.fix.zh))


def reviewed_document(patterns: Sequence[Mapping[str, Any]], private: bytes, made: datetime) -> dict[str, Any]:
    """Fixes that experts have reviewed, as a signed ``huizhen.counts/1``: of single cars, so ``k`` is 1.

    Args:
        patterns: one of each accepted draft, as :meth:`casebase.sharing.SharedPattern.to_json` says it.
        private: the key that signs it.
        made: when the last one was accepted.
    """
    same: dict[str, dict[str, Any]] = {}
    for told in patterns:
        key = repr([told[name] for name in ("component", "failure_mode", "action", "scope")])
        known = same.setdefault(key, {**told, "cases": 0, "worked": 0, "failed": 0, "terms": {}})
        for name in ("cases", "worked", "failed"):
            known[name] += told[name]
        known["terms"] = dict(Counter(known["terms"]) + Counter(told["terms"]))
    document = {
        "schema": SCHEMA,
        "site": encoded(site_of(private)),
        "made": made.isoformat(timespec="microseconds"),
        "epsilon": _NO_NOISE,
        "k": 1,
        "patterns": list(same.values())[:MOST_PATTERNS],
    }
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(canonical(document))
    return {**document, "signature": encoded(signature)}
