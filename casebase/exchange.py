"""Counts go out to other workshops and come in from them: what only a library with its file can do."""

from __future__ import annotations

import hashlib
import shlex
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from casebase.errors import ImportUnreadable, LibraryUnreadable, SiteUntrusted
from casebase.imports.files import opened
from casebase.owncounts import own_patterns, reviewed_pattern
from casebase.sharedfile import LARGEST, parse_counts, parse_site
from casebase.sharing import (
    EPSILON,
    LEAST_CARS,
    MOST_PATTERNS,
    CountsDocument,
    SharedPattern,
    canonical,
    encoded,
    fingerprint,
    published,
    signed,
    site_of,
)
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casebase.casetable import CaseTable
    from casebase.catalogue import FeatureScale, Fix
    from casebase.record import Case
    from casebase.sharedtable import SharedTable
    from casebase.store import Store
    from casebase.words import Vocabulary
    from diag.facts import Json

__all__ = ["CountsExchange"]

_CLOCKS: Final = timedelta(days=1)
"""How far the clocks of two sites may be apart."""


class CountsExchange:
    """Makes this library's document, and takes those of others.

    Args:
        store, cases, shared: of the library.
        words, scales: its vocabulary and figures.
    """

    def __init__(
        self,
        store: Store,
        cases: CaseTable,
        shared: SharedTable,
        words: Vocabulary,
        scales: Mapping[str, FeatureScale],
    ) -> None:
        self._store, self._cases, self._shared, self._words, self._scales = store, cases, shared, words, scales

    def export(self, *, now_ns: int | None = None) -> tuple[CountsDocument, Json]:
        """What this library may tell other sites, noised; and the same as signed JSON.

        Args:
            now_ns: UTC nanoseconds; None is now.

        Raises:
            LibraryReadOnly: the library has no keys yet, and none can be kept.
        """
        private, secret = self._keys()
        own = own_patterns(self._cases, self._words, self._scales, LEAST_CARS)
        told = [shared for one in own if (shared := published(one, secret)) is not None]
        told = sorted(told, key=lambda shared: -shared.cases)[:MOST_PATTERNS]
        document = CountsDocument(site_of(private), _moment(now_ns), EPSILON, LEAST_CARS, tuple(told))
        return document, signed(document, private)

    def reviewed(self, case: Case, fix: Fix) -> SharedPattern | None:
        """What may be told of a case that an expert has reviewed; None where nothing may."""
        return reviewed_pattern(case, fix, self._scales)

    def _keys(self) -> tuple[bytes, bytes]:
        """The private key and the secret of the noise, made at first use."""
        keys = self._shared.keys
        if keys is None:
            with self._store.transaction():
                self._shared.make_keys()
            keys = self._shared.keys
        if keys is None:
            raise LibraryUnreadable(self._store.path, "meta")
        return keys

    def take(
        self, path: str | Path, *, trust: str | None = None, now_ns: int | None = None
    ) -> tuple[CountsDocument, int | None]:
        """Takes another site's counts instead of the former ones of that site.

        Args:
            path: the document, plain, gzip or zip.
            trust: the public key of the site, to trust it from here on.
            now_ns: UTC nanoseconds; None is now.

        Returns:
            What it says, and how many fixes are new here; None where the very document was taken before.

        Raises:
            ImportUnreadable: it is no such document, was changed, is our own, older than the former one, or of the
                future, or ``trust`` is another key.
            SiteUntrusted: nobody said that its site is trusted.
            LibraryError: the library cannot take it.
        """
        with opened(Path(path)) as file:
            data = file.read(LARGEST + 1)
        return self.take_bytes(data, str(path), trust=trust, now_ns=now_ns)

    def take_bytes(
        self, data: bytes, name: str, *, trust: str | None = None, now_ns: int | None = None, least: int = LEAST_CARS
    ) -> tuple[CountsDocument, int | None]:
        """The same with what a service sent; ``least``: the cars that must stand behind anything in it.

        Raises:
            ImportUnreadable: as :meth:`take`.
            SiteUntrusted: likewise.
            LibraryError: likewise.
        """
        document = parse_counts(data, name, least=least)
        if trust is not None and parse_site(trust) != document.site:
            key = encoded(document.site)
            reason = Text(f"signed by {key}, which is not the key you trust", f"签名密钥为 {key}，与所信任的不同")
            raise ImportUnreadable(name, reason)
        if document.made > _moment(now_ns) + _CLOCKS:
            raise ImportUnreadable(name, Text("made in the future; a clock is wrong", "生成时间在未来，时钟有误"))
        digest = hashlib.sha256(canonical(document.to_json())).hexdigest()
        with self._store.transaction():
            if document.site == self._shared.site:
                raise ImportUnreadable(name, Text("these are this library's own counts", "这是本库自己导出的计数"))
            last = self._shared.last_of(document.site)
            if trust is None and last is None:
                raise SiteUntrusted(name, fingerprint(document.site), self._command(name, document.site))
            made, known = last or (None, None)
            if known == digest:
                return document, None
            if made is not None and document.made <= made:
                when = made.isoformat(timespec="seconds")
                reason = Text(f"not newer than what this site told on {when}", f"不新于该门店 {when} 的数据")
                raise ImportUnreadable(name, reason)
            return document, self._shared.put(document, digest)

    def _command(self, name: str, site: bytes) -> str:
        """What to type; a key may begin with a dash, and the library may not be one's own."""
        words = ["huizhen", "case", "import", "counts", name, f"--trust={encoded(site)}"]
        path = self._store.path
        return shlex.join(words if path == ":memory:" else [*words, "--library", path])


def _moment(now_ns: int | None) -> datetime:
    return datetime.fromtimestamp((time.time_ns() if now_ns is None else now_ns) / 1e9, UTC)
