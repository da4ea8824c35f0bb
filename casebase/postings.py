"""Terms and the fixes that show them, as arrays.

A *term* is one kind of evidence, as text:

==============================  ========================================================
``d3|bms|P0DE6|16``             a code in an ECU with its failure type
``d2|bms|P0DE6``                the same without the failure type
``d1|P0DE6``                    the same in whatever ECU
``g|battery.cell-weak``         a finding
``f|spread_mv|fault``           a battery figure in one of its bins
``s|bms``                       an ECU that stayed silent
``w|#range-loss``, ``w|~电池``   a concept, or a bigram or word, of the complaint
==============================  ========================================================

A fix of ours counts as 10 to 40 cases (:data:`casebase.catalogue.CASES_OF`), spread over its terms by how
usual each is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.catalogue import CASES_OF, HOW_OFTEN, Fix, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from casebase.words import Vocabulary

__all__ = ["Postings", "group_of_term", "terms_from_fix"]

_CONCEPT_TWICE: Final = "often"
_CONCEPT_ONCE: Final = "sometimes"


def terms_from_fix(fix: Fix, words: Vocabulary) -> dict[str, float]:
    """The terms of a fix of ours with their pseudo-counts, 0 for what must not be seen with it."""
    share: dict[str, float] = {}

    def add(term: str, value: float) -> None:
        share[term] = max(share.get(term, 0.0), value)

    for seen in fix.codes:
        often = HOW_OFTEN[seen.how]
        add(f"d1|{seen.code}", often)
        add(f"d2|{seen.role}|{seen.code}", often)
        for failure in seen.types:
            add(f"d3|{seen.role}|{seen.code}|{failure}", often / len(seen.types))
    for finding in fix.findings:
        add(f"g|{finding.name}", HOW_OFTEN[finding.how])
    for silent in fix.silent:
        add(f"s|{silent.name}", HOW_OFTEN[silent.how])
    for feature in fix.features:
        add(f"f|{feature.name}|{feature.bin}", HOW_OFTEN[feature.how])
    said = Counter(term for phrase in (*fix.symptoms_zh, *fix.symptoms_en) for term in words.terms(phrase))
    for term, times in said.items():
        often = times > 1 and term.startswith("#")
        add(f"w|{term}", HOW_OFTEN[_CONCEPT_TWICE if often else _CONCEPT_ONCE])
    return {term: value * CASES_OF[fix.commonness] for term, value in share.items()}


def group_of_term(term: str) -> str | None:
    """What has to have been read for the term's absence to mean something; None when it never does."""
    kind, _, rest = term.partition("|")
    if kind == "d2":
        return f"d|{rest.partition('|')[0]}"
    if kind == "f":
        return f"f|{rest.partition('|')[0]}"
    return term if kind in ("g", "s") else None


@dataclass(frozen=True, slots=True)
class Postings:
    """All fixes by term (CSR): the fixes of term ``i`` stand at ``indptr[i]:indptr[i + 1]``, and terms by fix.

    Args:
        n: float64, shape ``(fixes,)``: cases behind each fix.
        rows: int32, shape ``(entries,)``: which fix.
        counts: float64, same shape: in how many of its cases.
        absent: group -> float64 ``(fixes,)``: the sum of ``ln(1 - P(t|p))`` over the group's terms.
        fix_indptr, fix_terms: the same the other way round: numbers of the terms of fix ``i``.
        make, model: int32 ``(fixes,)``: number of the name in ``names``, -1 for any.
        years: int32 ``(fixes, 2)``: first and last year.
    """

    fix_ids: tuple[str, ...]
    n: NDArray[np.float64]
    terms: dict[str, int]
    term_names: tuple[str, ...]
    fix_indptr: NDArray[np.int64]
    fix_terms: NDArray[np.int32]
    indptr: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.float64]
    base_rate: NDArray[np.float64]
    absent: dict[str, NDArray[np.float64]]
    names: dict[str, int]
    make: NDArray[np.int32]
    model: NDArray[np.int32]
    years: NDArray[np.int32]
    smoothing: float

    @classmethod
    def build(
        cls,
        fixes: Sequence[tuple[str, float, Scope]],
        entries: Iterable[tuple[int, str, float]],
        smoothing: float = 2.0,
    ) -> Postings:
        """Arranges ``(row of the fix, term, count)`` entries."""
        names_of: dict[str, int] = {}
        rows_of: list[int] = []
        term_of: list[int] = []
        count_of: list[float] = []
        for row, term, count in entries:
            rows_of.append(row)
            term_of.append(names_of.setdefault(term, len(names_of)))
            count_of.append(count)
        term_number = np.asarray(term_of, dtype=np.int64)
        row_number = np.asarray(rows_of, dtype=np.int64)
        order = np.argsort(term_number, kind="stable")
        rows = row_number[order].astype(np.int32)
        counts = np.asarray(count_of, dtype=np.float64)[order]
        indptr = _starts(term_number, len(names_of))
        fix_terms = term_number[np.lexsort((term_number, row_number))].astype(np.int32)
        fix_indptr = _starts(row_number, len(fixes))
        n = np.asarray([size for _, size, _ in fixes], dtype=np.float64)
        totals = np.bincount(term_number, weights=np.asarray(count_of, dtype=np.float64), minlength=len(names_of))
        rate = np.clip((totals + 0.5) / (n.sum() + 1.0), 1e-6, 0.999)
        places: dict[str, int] = {}

        def number(name: str | None) -> int:
            return -1 if name is None else places.setdefault(name, len(places))

        make = np.asarray([number(scope.make) for _, _, scope in fixes], dtype=np.int32)
        model = np.asarray([number(scope.model) for _, _, scope in fixes], dtype=np.int32)
        years = np.asarray([(s.year_from or 0, s.year_to or 9999) for _, _, s in fixes], dtype=np.int32).reshape(-1, 2)
        ids = tuple(fix_id for fix_id, _, _ in fixes)
        made = cls(
            ids, n, names_of, tuple(names_of), fix_indptr, fix_terms, indptr, rows, counts, rate, {}, places, make,
            model, years, smoothing,
        )  # fmt: skip
        for term in names_of:
            if group := group_of_term(term):
                where, lost = made.absence(term)
                made.absent.setdefault(group, np.zeros(len(ids)))[where] += lost
        return made

    def __len__(self) -> int:
        return len(self.fix_ids)

    def posting(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.float64], float]:
        """Rows, ``P(t|p)`` there, and ``P(t)``; empty for a term that the library does not know."""
        i = self.terms.get(term)
        if i is None:
            return np.empty(0, np.int32), np.empty(0), 0.0
        part = slice(self.indptr[i], self.indptr[i + 1])
        rows = self.rows[part]
        rate = float(self.base_rate[i])
        return rows, (self.counts[part] + self.smoothing * rate) / (self.n[rows] + self.smoothing), rate

    def counts_of(self, term: str) -> NDArray[np.float64]:
        """In how many of its cases each fix of :meth:`posting` shows the term."""
        i = self.terms.get(term)
        return np.empty(0) if i is None else self.counts[self.indptr[i] : self.indptr[i + 1]]

    def terms_of(self, row: int) -> list[str]:
        """The terms of one fix, in the order of the term numbers."""
        return [self.term_names[i] for i in self.fix_terms[self.fix_indptr[row] : self.fix_indptr[row + 1]]]

    def seen(self, term: str) -> NDArray[np.int32]:
        """Rows of the fixes that show the term at least sometimes."""
        i = self.terms.get(term)
        if i is None:
            return np.empty(0, np.int32)
        part = slice(self.indptr[i], self.indptr[i + 1])
        return self.rows[part][self.counts[part] > 0]

    def absence(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Rows and ``ln(1 - P(t|p))`` there."""
        rows, chance, _ = self.posting(term)
        return rows, np.log1p(-np.clip(chance, 0.0, 0.98))

    def allowed(self, make: str | None, model: str | None, year: int | None) -> NDArray[np.bool_]:
        """Which fixes are for this vehicle; what is not known of it excludes nothing."""
        mask = np.ones(len(self), dtype=np.bool_)
        if make is not None:
            mask &= (self.make == -1) | (self.make == self.names.get(make, -2))
        if model is not None:
            mask &= (self.model == -1) | (self.model == self.names.get(model, -2))
        if year is not None:
            mask &= (self.years[:, 0] <= year) & (year <= self.years[:, 1])
        return mask


def _starts(numbers: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Where each number's entries begin once they are sorted; one more at the end."""
    return np.concatenate(([0], np.cumsum(np.bincount(numbers, minlength=size)))).astype(np.int64)
