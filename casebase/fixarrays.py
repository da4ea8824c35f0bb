"""The arrays of a library, up to date: ours, those of closed cases, and what came a moment ago from another process."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.catalogue import Scope
from casebase.fixindex import Learnt, load_arrays, name_of_arrays, newest, save_arrays
from casebase.postings import Entries, Postings, number_of_term
from casebase.prepared import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from casebase.casetable import CaseTable
    from casebase.catalogue import FeatureScale
    from casebase.prepared import Prepared
    from casebase.record import Case
    from casebase.sharedtable import SharedTable
    from casebase.store import Store
    from casebase.tokens import Tokenizer

__all__ = ["FixArrays"]

_BESIDE: Final = 5000
"""Cases that stand beside the arrays before these are made anew."""
_BATCH: Final = 1000


class FixArrays:
    """Keeps :class:`casebase.postings.Postings` in step with the library's file.

    Args:
        store, cases: of the library.
        tokenizer: of its vocabulary.
        scales: of its figures.
        words: digest of the vocabulary.
        shared: what other sites told.
    """

    def __init__(
        self,
        store: Store,
        cases: CaseTable,
        tokenizer: Tokenizer,
        scales: Callable[[], Mapping[str, FeatureScale]],
        words: str,
        shared: SharedTable,
    ) -> None:
        self._store, self._cases, self._tokenizer, self._scales, self._words = store, cases, tokenizer, scales, words
        self._shared = shared
        self._state: tuple[int, int] | None = None
        self._at: tuple[int, str | None, str, str] = (0, None, "", "")
        self._made: Postings | None = None
        self.catching_up: Callable[[int, int], None] = lambda _done, _of: None
        """Told how many cases were read again and of how many, where arrays are made anew from many."""
        self.elsewhere: dict[str, tuple[int, int]] = {}
        """Fix -> on how many cars it worked and failed at other sites, as of the last :attr:`postings`."""

    @property
    def shared_version(self) -> str:
        """Of what other sites told, as of the last :attr:`postings`."""
        return self._at[3]

    @property
    def postings(self) -> Postings:
        """All of it, as the file says it now."""
        state = self._store.state
        if self._made is None or state != self._state:
            self._made = self._follow()
            self._state = state
        return self._made

    def learnt(self) -> Learnt:
        """An empty one, for cases that come."""
        base, _ = self._base()
        return self._empty(base)

    @property
    def scales(self) -> Mapping[str, FeatureScale]:
        """Of the library's figures."""
        return self._scales()

    def prepare(self, cases: Sequence[Case]) -> Prepared:
        """Makes cases ready for the file."""
        return prepare(cases, self._tokenizer, self._scales())

    def _empty(self, known: Postings | None) -> Learnt:
        return Learnt(self._tokenizer, self._scales(), () if known is None else known.fix_ids, self._folder)

    def keep(self, learnt: Learnt, after: int) -> None:
        """Makes the arrays anew with what an import gathered.

        Args:
            learnt: all cases that came since.
            after: up to which the library had learnt before.
        """
        base, seq = self._base()
        last, since = self._cases.learnt_since(after)
        # Another process may have taught meanwhile: then the arrays are made from the file, at the next question.
        known = () if base is None else base.fix_ids
        if seq == after and len(learnt) and since == learnt.added and learnt.known == known:
            self._save(learnt.added_to(base, self._cases.scopes()), last)

    def _follow(self) -> Postings:
        content = self._store.meta("content_hash")
        identity = self._store.identity  # another one where somebody restored a backup
        shared = self._shared.version
        last = self._cases.last_learnt
        if self._made is not None and self._at[1:] == (content, identity, shared) and 0 <= last - self._at[0] < _BESIDE:
            made = self._made
            if last > self._at[0]:
                made = self._since(self._at[0], made).beside(made, self._cases.scopes())
        else:
            base, seq = self._base()
            if last - seq >= _BESIDE:
                base = self._since(seq, base).added_to(base, self._cases.scopes())
                self._save(base, last)
                seq = last
            made = self._with_ours(base)
            if last > seq:
                made = self._since(seq, made).beside(made, self._cases.scopes())
            made = self._with_shared(made)
        self._at = last, content, identity, shared
        return made.without({row[0] for row in self._store.rows("SELECT id FROM fixes WHERE retired = 1")})

    def _since(self, seq: int, known: Postings | None) -> Learnt:
        learnt = self._empty(known)
        total = self._cases.learnt_since(seq)[1]
        while rows := self._cases.learnt_after(seq, _BATCH):
            seq = rows[-1][0]
            learnt.add([(fix_id, query, weight) for _, fix_id, query, weight in rows])
            if total >= _BESIDE:
                self.catching_up(learnt.added, total)
        return learnt

    def _with_ours(self, base: Postings | None) -> Postings:
        """With the fixes that come with the program."""
        rows = self._store.fixes(own=True)
        terms = self._store.terms()
        scopes = [(row.fix_id, row.n, Scope(row.make, row.model, row.year_from, row.year_to)) for row in rows]
        if base is None or not len(base):
            at = {row.fix_id: i for i, row in enumerate(rows)}
            return Postings.build(scopes, ((at[fix_id], term, n) for fix_id, term, n in terms))
        return _with_counts(base, scopes, terms)

    def _with_shared(self, made: Postings) -> Postings:
        """With what other sites counted."""
        self.elsewhere = self._shared.outcomes()
        if not self.elsewhere:
            return made
        scopes = self._cases.scopes()
        cured = [(fix_id, float(worked), scopes[fix_id]) for fix_id, (worked, _) in self.elsewhere.items()]
        return _with_counts(made, cured, self._shared.terms())

    @property
    def _folder(self) -> Path | None:
        return None if self._store.path == ":memory:" else Path(f"{self._store.path}-index")

    def _wanted(self, seq: int) -> str:
        return name_of_arrays(seq, f"{self._words} {self._store.identity}", self._scales())

    def _base(self) -> tuple[Postings | None, int]:
        """The arrays that were made before, and up to which case they go."""
        if self._folder is None:
            return None, 0
        found = newest(self._folder, self._wanted(0))
        if found is None or found[0] > self._cases.last_learnt:
            return None, 0
        base = load_arrays(found[1])
        return (None, 0) if base is None else (base, found[0])

    def _save(self, made: Postings, seq: int) -> None:
        if self._folder is not None and self._store.writable:
            with suppress(OSError):
                save_arrays(made, self._folder / self._wanted(seq))


def _with_counts(
    base: Postings, fixes: Sequence[tuple[str, float, Scope]], terms: Sequence[tuple[str, str, float]]
) -> Postings:
    """Arrays with counts by name beside them.

    Args:
        base: as they are.
        fixes: identity, cases and vehicles.
        terms: ``(fix, term, count)``.
    """
    known = {fix_id: row for row, fix_id in enumerate(base.fix_ids)}
    new = [fix for fix in fixes if fix[0] not in known]
    at = known | {fix_id: len(base) + i for i, (fix_id, _, _) in enumerate(new)}
    entries = Entries(
        np.array([at[fix_id] for fix_id, _, _ in terms], dtype=np.int32),
        np.array([number_of_term(term) for _, term, _ in terms], dtype=np.uint64),
        np.array([n for _, _, n in terms], dtype=np.float32),
    )
    names: dict[int, list[str]] = {}
    for fix_id, term, _ in terms:
        if not term.startswith("w|"):
            names.setdefault(at[fix_id], []).append(term)
    more = {known[fix_id]: n for fix_id, n, _ in fixes if fix_id in known}
    return base.with_more(new, more, entries, names)
