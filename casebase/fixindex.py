"""What closed cases teach, as arrays beside the library: made once, mapped when opened, and kept up case by case.

The library's file is the system of record: ``learnt`` lists which case stands behind which fix, in the order they
came. The arrays hold all of them up to one number; what came later is read from the file and counts at once.
When that grows long the arrays are made anew: written under another name, then renamed, so that a reader never sees
half of them, and a process that was killed loses nothing but time.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.arrayfiles import load_folder, save_folder
from casebase.evidence import Evidence
from casebase.postings import Entries, Names, Postings, number_of_term
from casebase.runs import Runs, by_term, distinct, key_of, numbers_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from casebase.catalogue import FeatureScale, Scope
    from casebase.query import Query
    from casebase.tokens import Tokenizer

__all__ = ["Learnt", "load_arrays", "name_of_arrays", "newest", "save_arrays"]

_VERSION: Final = 3
"""Of the arrays; another one makes them anew."""
_ARRAYS: Final = ("n", "numbers", "indptr", "rows", "counts", "make", "model", "years")
_MOST_PARTS: Final = 64
_MANY_CASES: Final = 10.0
_TWICE: Final = 1.5
_LEAST_SHARE: Final = 0.02
_MOST_WORDS: Final = 400
"""Words that are kept of a fix with many cases: the most frequent."""


class Learnt:
    """Counts of cases by fix and term, gathered in batches.

    Args:
        tokenizer: of the library's vocabulary.
        scales: of its figures.
        known: identities of the fixes whose rows the counts are for, in their order; others follow behind.
        folder: for what memory should not hold.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        scales: Mapping[str, FeatureScale],
        known: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        self._tokenizer, self._scales = tokenizer, scales
        self.rows: dict[str, int] = {fix_id: row for row, fix_id in enumerate(known)}
        self.known = tuple(known)
        self.cases: dict[int, float] = {}
        self.added = 0
        self._runs = Runs(folder)
        self._name_ids: dict[str, int] = {}
        self._named: list[NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return self.added

    def add(self, cases: Sequence[tuple[str, Query, float]]) -> None:
        """Takes some cases: identity of the fix, what was seen, 1 or to take one back -1."""
        evidence = Evidence.of([query for _, query, _ in cases], self._tokenizer, self._scales)
        self.take(evidence, [fix_id for fix_id, _, _ in cases], [weight for _, _, weight in cases])

    def take(self, evidence: Evidence, fix_ids: Sequence[str | None], weights: Sequence[float] | None = None) -> None:
        """Takes what some cases showed.

        Args:
            evidence: of the cases.
            fix_ids: which fix each stands behind, None for those that teach nothing.
            weights: 1, or to take one back -1; None is 1 for all.
        """
        weight = np.ones(evidence.size, dtype=np.float32) if weights is None else np.array(weights, dtype=np.float32)
        place = np.full(evidence.size, -1, dtype=np.int64)
        for case, fix_id in enumerate(fix_ids):
            if fix_id is not None:
                row = place[case] = self.rows.setdefault(fix_id, len(self.rows))
                self.cases[int(row)] = self.cases.get(int(row), 0.0) + float(weight[case])
        self.added += int((place >= 0).sum())
        ids = np.array([self._name_ids.setdefault(name, len(self._name_ids)) for name in evidence.names], np.uint64)
        at = place[evidence.case]
        told = at >= 0
        term = evidence.term[told]
        self._named.append(distinct((at[told].astype(np.uint64) << np.uint64(32)) | ids[term]))
        if len(self._named) > _MOST_PARTS:
            self._named = [self._names]
        keys = [key_of(at[told], evidence.numbers[term])]
        counts = [evidence.count[told] * weight[evidence.case[told]]]
        at = place[evidence.word_case]
        told = at >= 0
        keys.append(key_of(at[told], evidence.word[told]))
        counts.append(weight[evidence.word_case[told]])
        self._runs.add(np.concatenate(keys), np.concatenate(counts))

    @property
    def _names(self) -> NDArray[np.uint64]:
        """Which fix shows which named term: the row in the upper half, the name's number in the lower."""
        return distinct(np.concatenate([np.empty(0, np.uint64), *self._named]))

    def close(self) -> None:
        """Lets go of what it put away."""
        self._runs.close()

    def _fixes(self, known: Postings | None, scopes: Mapping[str, Scope]) -> list[tuple[str, float, Scope]]:
        n = [0.0] * len(self.rows) if known is None else [*known.n.tolist(), *[0.0] * (len(self.rows) - len(known))]
        for row, cases in self.cases.items():
            n[row] += cases
        return [(fix_id, n[row], scopes[fix_id]) for fix_id, row in self.rows.items()]

    def added_to(self, known: Postings | None, scopes: Mapping[str, Scope]) -> Postings:
        """New arrays from those whose rows were known, and what was gathered; what was gathered is gone then."""
        fixes = self._fixes(known, scopes)
        names = self._names
        if known is not None:
            for rows, numbers, counts in known.pairs():
                self._runs.add(key_of(rows, numbers), counts)
            ids = [self._name_ids.setdefault(name, len(self._name_ids)) for name in known.names.terms]
            rows, of_name = known.names.pairs()
            earlier = (rows.astype(np.uint64) << np.uint64(32)) | np.array(ids, dtype=np.uint64)[of_name]
            more = [
                (row << 32) | self._name_ids.setdefault(name, len(self._name_ids))
                for row, terms in known.names.more.items()
                for name in terms
            ]
            names = distinct(np.concatenate([names, earlier, np.array(more, dtype=np.uint64)]))
        named = np.sort(np.array([number_of_term(name) for name in self._name_ids], dtype=np.uint64))
        cases = np.array([n for _, n, _ in fixes])
        parts = [_pruned(keys, counts, cases, named) for keys, counts in self._runs.blocks(len(fixes))]
        self.close()
        names = _telling(names, np.array([number_of_term(name) for name in self._name_ids], np.uint64), parts, cases)
        return Postings.of_columns(fixes, by_term(parts), Names.from_keys(names, tuple(self._name_ids), len(fixes)))

    def beside(self, known: Postings, scopes: Mapping[str, Scope]) -> Postings:
        """The arrays whose rows were known as they are, with what was gathered beside them."""
        if not self.added:
            return known
        parts = list(self._runs.blocks(len(self.rows)))
        keys = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in parts)])
        counts = np.concatenate([np.empty(0, np.float32), *(counts for _, counts in parts)])
        new = [(fix_id, self.cases[row], scopes[fix_id]) for fix_id, row in self.rows.items() if row >= len(self.known)]
        further = {row: cases for row, cases in self.cases.items() if row < len(self.known)}
        terms = tuple(self._name_ids)
        names: dict[int, list[str]] = {row: [] for row in self.cases}
        for key in self._names.tolist():
            names[key >> 32].append(terms[key & 0xFFFFFFFF])
        return known.with_more(new, further, Entries(rows_of(keys), numbers_of(keys), counts), names)


def _pruned(
    keys: NDArray[np.uint64], counts: NDArray[np.float32], cases: NDArray[np.float64], named: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Without what was taken back, and of fixes with many cases without the words that only one of them said.

    Args:
        keys: of some fixes, rising.
        counts: of each.
        cases: of all fixes.
        named: numbers of the terms that are no words, rising.
    """
    rows = rows_of(keys)
    is_word = named[np.minimum(np.searchsorted(named, numbers_of(keys)), named.size - 1)] != numbers_of(keys)
    crowd = (cases[rows] >= _MANY_CASES) & is_word if named.size else cases[rows] >= _MANY_CASES
    keep = (counts > 0.0) & ~(crowd & (counts < _TWICE))
    keys, counts, rows, crowd = keys[keep], counts[keep], rows[keep], crowd[keep]
    words = np.bincount(rows[crowd])
    if not words.size or words.max() <= _MOST_WORDS:
        return keys, counts
    at = np.flatnonzero(crowd)
    order = at[np.lexsort((keys[at], -counts[at], rows[at]))]
    first = np.concatenate(([0], np.cumsum(words)))
    rank = np.zeros(rows.size, dtype=np.int64)
    rank[order] = np.arange(order.size) - first[rows[order]]
    keep = rank < _MOST_WORDS
    return keys[keep], counts[keep]


def _telling(
    names: NDArray[np.uint64],
    numbers: NDArray[np.uint64],
    parts: Sequence[tuple[NDArray[np.uint64], NDArray[np.float32]]],
    cases: NDArray[np.float64],
) -> NDArray[np.uint64]:
    """The named terms of each fix without those that few of its cases show: that one is missing says nothing.

    Args:
        names: row and index of each, rising.
        numbers: of the terms, by index.
        parts: what the cases showed, by fix and term.
        cases: of all fixes.
    """
    keys = key_of((names >> np.uint64(32)).astype(np.int64), numbers[(names & np.uint64(0xFFFFFFFF)).astype(np.int64)])
    seen = np.zeros(keys.size)
    for there, counts in parts:
        if there.size:
            at = np.minimum(np.searchsorted(there, keys), there.size - 1)
            seen = np.where(there[at] == keys, counts[at], seen)
    return names[seen >= _LEAST_SHARE * cases[(names >> np.uint64(32)).astype(np.int64)]]


def name_of_arrays(seq: int, words: str, scales: Iterable[str]) -> str:
    """The folder's name: up to which case, and by which vocabulary and scales."""
    told = json.dumps([_VERSION, words, sorted(scales)])
    return f"fixes-{hashlib.sha256(told.encode()).hexdigest()[:12]}-{seq}"


def save_arrays(postings: Postings, folder: Path) -> None:
    """Writes arrays as files of a folder, all or nothing; older ones beside it are removed.

    Raises:
        OSError: they cannot be written; nothing is left behind.
    """
    groups = sorted(postings.absent)
    told = {
        "fix_ids": postings.fix_ids, "places": postings.places, "terms": postings.names.terms, "groups": groups,
        "cases": postings.cases,
    }  # fmt: skip
    empty = np.zeros((0, len(postings)), dtype=np.float32)
    absent = np.stack([postings.absent[group] for group in groups]).astype(np.float32) if groups else empty
    arrays = {name: getattr(postings, name) for name in _ARRAYS}
    more = {"absent": absent, "name_ptr": postings.names.indptr, "name_ids": postings.names.ids}
    save_folder(folder, arrays | more, told, "fixes-*")


def load_arrays(folder: Path) -> Postings | None:
    """Arrays of a folder, mapped; None where they are not there or not whole."""
    loaded = load_folder(folder, (*_ARRAYS, "absent", "name_ptr", "name_ids"))
    if loaded is None:
        return None
    found, told = loaded
    small = {name: np.array(found[name]) for name in ("n", "make", "model", "years")}
    try:
        groups = dict(zip(told["groups"], found["absent"].astype(np.float64), strict=True))
        names = Names(tuple(told["terms"]), found["name_ptr"], found["name_ids"])
        return Postings(
            tuple(told["fix_ids"]), small["n"], found["numbers"], found["indptr"], found["rows"], found["counts"],
            names, groups, told["places"], small["make"], small["model"], small["years"], float(told["cases"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None


def newest(folder: Path, wanted: str) -> tuple[int, Path] | None:
    """The newest arrays of this vocabulary and up to which case they go.

    Args:
        folder: where they stand.
        wanted: :func:`name_of_arrays` of any case.
    """
    prefix = wanted.rpartition("-")[0]
    found = []
    with suppress(OSError):
        for path in folder.glob(f"{prefix}-*"):
            number = path.name.rpartition("-")[2]
            if number.isdigit():
                found.append((int(number), path))
    return max(found, default=None)
