"""Counts of other sites in the library's file, and the secrets with which this one tells its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from casebase.casetable import mark_shared
from casebase.prepared import learnt_row
from casebase.sharing import encoded, new_site_key, site_of
from diag.facts import Text

if TYPE_CHECKING:
    from casebase.sharing import CountsDocument
    from casebase.store import Store

__all__ = ["SharedSite", "SharedTable"]

_SITE_KEY: Final = "site_key"
_NOISE_KEY: Final = "share_key"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NOTE: Final = Text("Counted from closed cases of other workshops.", "由其他门店的已结案例统计得出。")


@dataclass(frozen=True, slots=True)
class SharedSite:
    """Another site that this library trusts.

    Args:
        key: public, base64url.
        made: of what it told last; None when it has told nothing.
        patterns: how many fixes that speaks of.
    """

    key: str
    made: datetime | None
    patterns: int


class SharedTable:
    """What other sites told; everything that writes does so inside the caller's transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def version(self) -> str:
        """Another one means that what other sites told has changed."""
        return self._store.meta("shared_version") or ""

    @property
    def site(self) -> bytes | None:
        """This library's own public key; None where it has told nothing yet."""
        private = self._store.meta(_SITE_KEY)
        return None if private is None else site_of(bytes.fromhex(private))

    @property
    def keys(self) -> tuple[bytes, bytes] | None:
        """The private key that signs, and the secret that draws the noise; None before they are made."""
        found = [self._store.meta(name) for name in (_SITE_KEY, _NOISE_KEY)]
        private, noise = (None if one is None else bytes.fromhex(one) for one in found)
        return None if private is None or noise is None else (private, noise)

    def make_keys(self) -> None:
        """Makes those that are not there."""
        for name, made in ((_SITE_KEY, new_site_key()), (_NOISE_KEY, secrets.token_bytes(32))):
            self._store.db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, made.hex()))

    def sites(self) -> list[SharedSite]:
        """All that are trusted, by key."""
        rows = self._store.rows(
            "SELECT site, made_us, (SELECT count(*) FROM shared_counts WHERE shared_counts.site = shared_sites.site)"
            " FROM shared_sites ORDER BY site"
        )
        return [SharedSite(key, None if us is None else _EPOCH + us * _MICROSECOND, n) for key, us, n in rows]

    def last_of(self, site: bytes) -> tuple[datetime | None, str | None] | None:
        """When what a site told last was made, and its digest; None for a site that is not trusted."""
        rows = self._store.rows("SELECT made_us, digest FROM shared_sites WHERE site = ?", (encoded(site),))
        if not rows:
            return None
        made_us, digest = rows[0]
        return None if made_us is None else _EPOCH + made_us * _MICROSECOND, digest

    def put(self, document: CountsDocument, digest: str) -> int:
        """Takes a document instead of the former one of its site, which is trusted from here on.

        Returns:
            How many fixes are new.
        """
        db = self._store.db
        site = encoded(document.site)
        made_us = (document.made - _EPOCH) // _MICROSECOND
        db.execute(
            "INSERT INTO shared_sites (site, made_us, digest, epsilon, k) VALUES (?, ?, ?, ?, ?) ON CONFLICT (site)"
            " DO UPDATE SET made_us = excluded.made_us, digest = excluded.digest, epsilon = excluded.epsilon,"
            " k = excluded.k",
            (site, made_us, digest, document.epsilon, document.k),
        )
        db.execute("DELETE FROM shared_terms WHERE site = ?", (site,))
        db.execute("DELETE FROM shared_counts WHERE site = ?", (site,))
        origins = dict(self._store.rows("SELECT id, origin FROM fixes"))
        new = 0
        for shared in document.patterns:
            fix = replace(shared.pattern.as_fix(), source_note=_NOTE)
            fix_id = fix.fix_id
            if origins.get(fix_id, "shared") == "shared":
                self._store.put_fix(learnt_row(fix), "shared", {})
                new += fix_id not in origins
            db.execute(
                "INSERT INTO shared_counts (site, fix_id, worked, failed) VALUES (?, ?, ?, ?)",
                (site, fix_id, shared.worked, shared.failed),
            )
            db.conn.executemany(
                "INSERT INTO shared_terms (site, fix_id, term, n) VALUES (?, ?, ?, ?)",
                [(site, fix_id, term, count) for term, count in shared.terms.items()],
            )
        # What nobody speaks of any more matches no more; its row stays, because old answers name it.
        db.execute(
            "UPDATE fixes SET retired = 1 WHERE origin = 'shared' AND id NOT IN (SELECT fix_id FROM shared_counts)"
        )
        mark_shared(self._store)
        return new

    def outcomes(self) -> dict[str, tuple[int, int]]:
        """Fix id -> on how many cars it worked and failed elsewhere."""
        rows = self._store.rows("SELECT fix_id, sum(worked), sum(failed) FROM shared_counts GROUP BY fix_id")
        return {fix_id: (int(worked), int(failed)) for fix_id, worked, failed in rows}

    def terms(self) -> list[tuple[str, str, int]]:
        """``(fix id, term, count)`` of all sites together, in a fixed order."""
        return self._store.rows(
            "SELECT fix_id, term, sum(n) FROM shared_terms GROUP BY fix_id, term ORDER BY fix_id, term"
        )
