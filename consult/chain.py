"""The hash chain over a room's record: each entry seals what was written and everything before it.

No I/O and no clock. ``hash_n = SHA-256(tag ‖ hash_(n-1) ‖ n ‖ kind ‖ t_us ‖ digest ‖ detail)``, where ``digest`` is the
SHA-256 of the content that the entry is about and ``detail`` names that content (canonical JSON). Every field of
variable length has its length before it, so that no two contents give the same bytes. ``hash_0`` is the tag's own
SHA-256. A signature is an Ed25519 signature over ``tag ‖ n ‖ hash_n ‖ t_us``, and itself an entry of the chain.

The hash is over the bytes as they are stored: where a room's content is encrypted, the chain seals the ciphertext, and
the record can be checked without the key.

Standard: FIPS 180-4 (SHA-256), RFC 8032 (Ed25519).
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "GENESIS",
    "KINDS",
    "BlockRow",
    "DocumentRow",
    "Entry",
    "EventRow",
    "canonical",
    "digest_blocks",
    "digest_documents",
    "digest_events",
    "digest_found",
    "digest_of",
    "next_entry",
    "runs_of_blocks",
    "signed_head",
]

_TAG: Final = b"huizhen.room-chain/1"
_TAG_BLOCKS: Final = b"huizhen.room-blocks/1"
_TAG_EVENTS: Final = b"huizhen.room-events/1"
_TAG_DOCUMENTS: Final = b"huizhen.room-documents/1"
_TAG_HEAD: Final = b"huizhen.room-head/1"
_TAG_WORDS: Final = b"huizhen.room-words/1"

KINDS: Final = ("begin", "found", "document", "blocks", "event", "signature", "resume", "close")
"""``begin`` names the room; ``found`` seals what an older program wrote without a chain; ``resume`` says that another
process goes on; ``close`` is the last of a room that has ended."""

BlockRow = tuple[int, int, int, int, bytes]
"""stream, epoch, seq, t_us, data"""
EventRow = tuple[int, int, bytes]
"""n, t_us, body as UTF-8 JSON"""
DocumentRow = tuple[int, str, int, bytes]
"""id, name, t_us, body as UTF-8 JSON"""


def _framed(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def canonical(value: Any) -> str:
    """JSON in one way only: sorted keys, no spaces."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


GENESIS: Final = hashlib.sha256(_framed(_TAG)).digest()
"""The hash before the first entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One link of the chain.

    Args:
        n: from 1.
        kind: one of :data:`KINDS`.
        t_us: UTC microseconds by the service's clock.
        digest: SHA-256 of the content.
        detail: canonical JSON: which content.
        hash: see the module.
    """

    n: int
    kind: str
    t_us: int
    digest: bytes
    detail: str
    hash: bytes


def next_entry(n: int, before: bytes, kind: str, t_us: int, digest: bytes, detail: str) -> Entry:
    """The entry with number ``n`` behind the hash ``before``."""
    sealed = hashlib.sha256(
        _framed(_TAG)
        + _framed(before)
        + struct.pack("<q", n)
        + _framed(kind.encode())
        + struct.pack("<q", t_us)
        + _framed(digest)
        + _framed(detail.encode())
    ).digest()
    return Entry(n, kind, t_us, digest, detail, sealed)


def signed_head(n: int, sealed: bytes, t_us: int) -> bytes:
    """What a signature is over."""
    return _framed(_TAG_HEAD) + struct.pack("<q", n) + _framed(sealed) + struct.pack("<q", t_us)


def digest_of(words: str, *parts: bytes) -> bytes:
    """The digest of content that stands in the chain's own words, and of further bytes."""
    return hashlib.sha256(b"".join([_framed(_TAG_WORDS), _framed(words.encode()), *map(_framed, parts)])).digest()


def digest_blocks(rows: Iterable[BlockRow]) -> bytes:
    """The digest of blocks in their order."""
    content = hashlib.sha256(_framed(_TAG_BLOCKS))
    for stream, epoch, seq, t_us, data in rows:
        content.update(struct.pack("<qqqqQ", stream, epoch, seq, t_us, len(data)))
        content.update(data)
    return content.digest()


def digest_events(rows: Iterable[EventRow]) -> bytes:
    """The digest of events in their order."""
    content = hashlib.sha256(_framed(_TAG_EVENTS))
    for n, t_us, body in rows:
        content.update(struct.pack("<qq", n, t_us) + _framed(body))
    return content.digest()


def digest_documents(rows: Iterable[DocumentRow]) -> bytes:
    """The digest of documents in their order."""
    content = hashlib.sha256(_framed(_TAG_DOCUMENTS))
    for ident, name, t_us, body in rows:
        content.update(struct.pack("<q", ident) + _framed(name.encode()) + struct.pack("<q", t_us) + _framed(body))
    return content.digest()


def digest_found(blocks: Iterable[BlockRow], events: Iterable[EventRow], documents: Iterable[DocumentRow]) -> bytes:
    """The digest of everything that stood in a file before it had a chain."""
    return digest_of("found", digest_blocks(blocks), digest_events(events), digest_documents(documents))


def runs_of_blocks(names: Sequence[tuple[int, int, int]]) -> list[list[int]]:
    """``[stream, epoch, first, last]`` for blocks ``(stream, epoch, seq)`` in ascending order, without holes."""
    runs: list[list[int]] = []
    for stream, epoch, seq in names:
        if runs and runs[-1][:2] == [stream, epoch] and runs[-1][3] + 1 == seq:
            runs[-1][3] = seq
        else:
            runs.append([stream, epoch, seq, seq])
    return runs
