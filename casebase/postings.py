"""Terms and the fixes that show them, as arrays.

A *term* is one kind of evidence, as text:

==============================  ========================================================
``d3|bms|P0DE6|16``             a code in an ECU with its failure type
``d2|bms|P0DE6``                the same without the failure type
``d1|P0DE6``                    the same in whatever ECU
``g|battery.cell-weak``         a finding
``f|spread_mv|fault``           a battery figure in one of its bins
``s|bms``                       an ECU that stayed silent
``c|cell-worn``                 a cause that the readings rank high
``w|#range-loss``, ``w|~电池``   a concept, or a bigram or word, of the complaint
==============================  ========================================================

Inside the arrays terms are 42-bit numbers (:func:`number_of_term`), those of words the lower bits of what
:mod:`casebase.tokens` gives them: among five million terms two or three pairs share a number, and 22 bits are left for
the fix, so that a pair of both is one word of the machine.
A fix of ours counts as 10 to 40 cases (:data:`casebase.catalogue.CASES_OF`), spread over its terms by how
usual each is; closed cases are added one by one. The arrays may be mapped from files; what came since stands beside
them and counts at once (:meth:`Postings.with_more`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from casebase.catalogue import CASES_OF, HOW_OFTEN, Fix, Scope
from casebase.tokens import CONCEPT, WORD, number_of, stem
from casebase.vehicles import best_model, make_key, model_key, sisters_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from casebase.words import Vocabulary

__all__ = [
    "TERM_BITS",
    "TERM_MASK",
    "Entries",
    "Names",
    "Postings",
    "group_of_term",
    "number_of_term",
    "terms_from_fix",
]

TERM_BITS: Final = 42
TERM_MASK: Final = np.uint64((1 << TERM_BITS) - 1)

_CAUSE: Final = "usual"
_CONCEPT_TWICE: Final = "often"
_CONCEPT_ONCE: Final = "sometimes"
_LAST_YEAR: Final = 9999
_SURE: Final = 0.98
_NOWHERE: Final = -3
"""Make of a fix that matches no more."""


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
    for cause in fix.causes:
        add(f"c|{cause}", HOW_OFTEN[_CAUSE])
    for finding in fix.findings:
        add(f"g|{finding.name}", HOW_OFTEN[finding.how])
    for silent in fix.silent:
        add(f"s|{silent.name}", HOW_OFTEN[silent.how])
    for feature in fix.features:
        add(f"f|{feature.name}|{feature.bin}", HOW_OFTEN[feature.how])
    said = Counter(term for terms in words.terms_of([*fix.symptoms_zh, *fix.symptoms_en]) for term in terms)
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


@lru_cache(maxsize=1 << 16)
def number_of_term(term: str) -> int:
    """The number that a term has in the arrays."""
    if term.startswith("w|#"):
        number = number_of(term[3:], CONCEPT)
    elif term.startswith("w|~"):
        number = number_of(stem(term[3:]), WORD)
    else:
        number = int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little")
    return number & int(TERM_MASK)


@dataclass(frozen=True, slots=True)
class Entries:
    """How often fixes showed terms: three arrays of the same length, in any order, a pair more than once at will.

    Args:
        rows: int32: which fix.
        numbers: uint64: which term.
        counts: float32: in how many of its cases.
    """

    rows: NDArray[np.int32]
    numbers: NDArray[np.uint64]
    counts: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Entries]) -> Entries:
        """All of them, each pair once, in the order of term and fix."""
        rows = np.concatenate([np.empty(0, np.int32), *(part.rows for part in parts)])
        numbers = np.concatenate([np.empty(0, np.uint64), *(part.numbers for part in parts)])
        counts = np.concatenate([np.empty(0, np.float32), *(part.counts for part in parts)])
        order = np.lexsort((rows, numbers))
        rows, numbers, counts = rows[order], numbers[order], counts[order]
        if not rows.size:
            return cls(rows, numbers, counts)
        at = np.flatnonzero(np.concatenate(([True], (numbers[1:] != numbers[:-1]) | (rows[1:] != rows[:-1]))))
        return cls(rows[at], numbers[at], np.add.reduceat(counts, at).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Names:
    """For each fix the terms, other than words, that it was seen with.

    Args:
        terms: each once.
        indptr: int64 ``(fixes + 1,)``.
        ids: int32: of fix ``i`` at ``indptr[i]:indptr[i + 1]``.
        more: what came since, by row.
    """

    terms: tuple[str, ...]
    indptr: NDArray[np.int64]
    ids: NDArray[np.int32]
    more: Mapping[int, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, named: Sequence[Iterable[str]]) -> Names:
        """From the terms of each fix."""
        numbers: dict[str, int] = {}
        ids = [[numbers.setdefault(term, len(numbers)) for term in sorted(terms)] for terms in named]
        indptr = np.concatenate(([0], np.cumsum([len(terms) for terms in ids]))).astype(np.int64)
        return cls(tuple(numbers), indptr, np.array([i for terms in ids for i in terms], dtype=np.int32))

    @classmethod
    def from_keys(cls, keys: NDArray[np.uint64], terms: tuple[str, ...], fixes: int) -> Names:
        """From rising keys: the row in the upper half, the index in ``terms`` in the lower."""
        starts = np.searchsorted(keys, np.arange(fixes + 1, dtype=np.uint64) << np.uint64(32))
        return cls(terms, starts.astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int32))

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Row and index in :attr:`terms` of all that stand in the arrays."""
        return np.repeat(np.arange(self.indptr.size - 1), np.diff(self.indptr)), self.ids

    def __getitem__(self, row: int) -> tuple[str, ...]:
        known: list[str] = []
        if row + 1 < self.indptr.size:
            known = [self.terms[i] for i in self.ids[self.indptr[row] : self.indptr[row + 1]].tolist()]
        added = self.more.get(row)
        return tuple(sorted({*known, *added} if added else known))

    def with_more(self, added: Mapping[int, Iterable[str]]) -> Names:
        """The same with further terms."""
        more = dict(self.more)
        for row, terms in added.items():
            more[row] = more.get(row, frozenset()) | frozenset(terms)
        return replace(self, more=more)


@dataclass(frozen=True, slots=True)
class Postings:
    """All fixes by term (CSR): the fixes of term ``i`` stand at ``indptr[i]:indptr[i + 1]``.

    Args:
        n: float64, shape ``(fixes,)``: cases behind each fix.
        numbers: uint64 ``(terms,)``, rising.
        rows: int32, shape ``(entries,)``: which fix.
        counts: float32, same shape: in how many of its cases.
        names: see :class:`Names`.
        absent: group -> float64 ``(fixes,)``: the sum of ``ln(1 - P(t|p))`` over the group's terms.
        make, model: int32 ``(fixes,)``: number of the name in ``places``, -1 for any.
        years: int32 ``(fixes, 2)``: first and last year.
        cases: behind all fixes.
        more: what came since the arrays were made: term -> rows and counts.
    """

    fix_ids: tuple[str, ...]
    n: NDArray[np.float64]
    numbers: NDArray[np.uint64]
    indptr: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.float32]
    names: Names
    absent: dict[str, NDArray[np.float64]]
    places: dict[str, int]
    make: NDArray[np.int32]
    model: NDArray[np.int32]
    years: NDArray[np.int32]
    cases: float
    smoothing: float = 2.0
    more: Mapping[int, tuple[NDArray[np.int32], NDArray[np.float32]]] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        fixes: Sequence[tuple[str, float, Scope]],
        entries: Iterable[tuple[int, str, float]],
        smoothing: float = 2.0,
    ) -> Postings:
        """Arranges the evidence.

        Args:
            fixes: identity, cases behind it and vehicles of each.
            entries: ``(row of the fix, term, count)``.
            smoothing: how many cases the background is worth for each fix.
        """
        told = list(entries)
        joined = Entries.joined(
            [
                Entries(
                    np.array([row for row, _, _ in told], dtype=np.int32),
                    np.array([number_of_term(term) for _, term, _ in told], dtype=np.uint64),
                    np.array([count for _, _, count in told], dtype=np.float32),
                )
            ]
        )
        named: list[set[str]] = [set() for _ in fixes]
        for row, term, _ in told:
            if not term.startswith("w|"):
                named[row].add(term)
        numbers, start = np.unique(joined.numbers, return_index=True)
        columns = numbers, np.append(start, joined.numbers.size).astype(np.int64), joined.rows, joined.counts
        return cls.of_columns(fixes, columns, Names.of(named), smoothing)

    @classmethod
    def of_columns(
        cls,
        fixes: Sequence[tuple[str, float, Scope]],
        columns: tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]],
        names: Names,
        smoothing: float = 2.0,
    ) -> Postings:
        """From ``numbers``, ``indptr``, ``rows`` and ``counts`` as they stand here."""
        places: dict[str, int] = {}
        make, model, years = _scopes([scope for _, _, scope in fixes], places)
        n = np.array([size for _, size, _ in fixes], dtype=np.float64)
        ids = tuple(fix_id for fix_id, _, _ in fixes)
        made = cls(ids, n, *columns, names, {}, places, make, model, years, float(n.sum()), smoothing)
        made.absent.update(made.absences(range(len(made))))
        return made

    def with_more(
        self,
        fixes: Sequence[tuple[str, float, Scope]],
        cases: Mapping[int, float],
        entries: Entries,
        names: Mapping[int, Iterable[str]],
    ) -> Postings:
        """The same with further fixes and cases; the arrays stay where they are.

        Args:
            fixes: identity, cases and vehicles of those that are new; their rows follow the known ones.
            cases: further ones of known fixes, by row.
            entries: what is added.
            names: terms other than words that are added, by row.
        """
        if both := {fix_id for fix_id, _, _ in fixes} & set(self.fix_ids):
            raise ValueError(f"known already: {min(both)}")
        places = dict(self.places)
        make, model, years = _scopes([scope for _, _, scope in fixes], places)
        more = dict(self.more)
        entries = Entries.joined([entries])
        numbers, start = np.unique(entries.numbers, return_index=True)
        for number, at, end in zip(numbers.tolist(), start, [*start[1:], entries.rows.size], strict=True):
            new = entries.rows[at:end], entries.counts[at:end]
            known = more.get(number)
            more[number] = new if known is None else _added(known, new)
        n = np.concatenate([self.n, [size for _, size, _ in fixes]])
        for row, added in cases.items():
            n[row] += added
        empty = np.zeros(len(fixes))
        made = replace(
            self,
            fix_ids=(*self.fix_ids, *(fix_id for fix_id, _, _ in fixes)),
            n=n,
            names=self.names.with_more(names),
            absent={group: np.concatenate([values, empty]) for group, values in self.absent.items()},
            places=places,
            make=np.concatenate([self.make, make]),
            model=np.concatenate([self.model, model]),
            years=np.concatenate([self.years, years]),
            cases=float(n.sum()),
            more=more,
        )
        changed = sorted({*entries.rows.tolist(), *names, *cases})
        for group, values in made.absences(changed).items():
            known_group = made.absent.setdefault(group, np.zeros(len(made)))
            known_group[changed] = values[changed]
        return made

    def absences(self, rows: Iterable[int]) -> dict[str, NDArray[np.float64]]:
        """:attr:`absent` for some fixes."""
        wanted = np.zeros(len(self), dtype=np.bool_)
        terms: set[str] = set()
        for row in rows:
            wanted[row] = True
            terms.update(self.names[row])
        out: dict[str, NDArray[np.float64]] = {}
        for term in sorted(terms):
            if group := group_of_term(term):
                where, lost = self.absence(term)
                inside = wanted[where]
                total = out.setdefault(group, np.zeros(len(self)))
                total[where[inside]] += lost[inside]
        return out

    def pairs(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float32]]]:
        """Rows, numbers of the terms, counts: all of it, in no order, a pair more than once at will."""
        sizes = np.diff(self.indptr)
        yield self.rows.astype(np.int64), np.repeat(self.numbers, sizes), np.asarray(self.counts)
        for number, (rows, counts) in self.more.items():
            yield rows.astype(np.int64), np.full(rows.size, number, dtype=np.uint64), counts

    def __len__(self) -> int:
        return len(self.fix_ids)

    def _stands(self, term: str | int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rows and counts of a term."""
        number = number_of_term(term) if isinstance(term, str) else term
        i = int(np.searchsorted(self.numbers, np.uint64(number)))
        part = slice(0, 0)
        if i < self.numbers.size and int(self.numbers[i]) == number:
            part = slice(int(self.indptr[i]), int(self.indptr[i + 1]))
        base = self.rows[part], self.counts[part]
        added = self.more.get(number) if self.more else None
        return base if added is None else _added(base, added)

    def posting(
        self, term: str | int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float64], float]:
        """Rows, in how many of their cases, ``P(t|p)`` there, and ``P(t)``; empty and 0 for an unknown term.

        Args:
            term: as text or number.
            allowed: bool ``(fixes,)``: of these only; ``P(t)`` is that of all.
        """
        rows, counts = self._stands(term)
        if not rows.size:
            return rows, counts, np.empty(0), 0.0
        rate = self._rate(counts)
        if allowed is not None:
            inside = allowed[rows]
            rows, counts = rows[inside], counts[inside]
        return rows, counts, (counts + self.smoothing * rate) / (self.n[rows] + self.smoothing), rate

    def _rate(self, counts: NDArray[np.float32]) -> float:
        """``P(t)`` of a term that so many cases of each fix showed."""
        return min(max((float(counts.sum(dtype=np.float64)) + 0.5) / (self.cases + 1.0), 1e-6), 0.999)

    def is_usual(self, term: str, row: int, least: float) -> bool:
        """Whether ``P(t|p)`` of a fix reaches ``least``."""
        rows, counts = self._stands(term)
        at = int(np.searchsorted(rows, row))
        if at == rows.size or int(rows[at]) != row:
            return False
        n, count = float(self.n[row]), float(counts[at])
        if count + self.smoothing < least * (n + self.smoothing):
            return False
        rate = self._rate(counts)
        return (count + self.smoothing * rate) / (n + self.smoothing) >= least

    def terms_of(self, row: int) -> tuple[str, ...]:
        """The terms, other than words, that one fix was seen with."""
        return self.names[row]

    def seen(self, term: str | int) -> NDArray[np.int32]:
        """Rows of the fixes that show the term at least sometimes."""
        rows, counts = self._stands(term)
        return rows[counts > 0]

    def is_seen(self, term: str | int, rows: NDArray[np.int32]) -> bool:
        """Whether one of some fixes shows the term at least sometimes."""
        seen = self.seen(term)
        at = np.minimum(np.searchsorted(seen, rows), seen.size - 1)
        return bool(seen.size) and bool((seen[at] == rows).any())

    def absence(self, term: str | int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Rows and ``ln(1 - P(t|p))`` there."""
        rows, _, chance, _ = self.posting(term)
        return rows, np.log1p(-np.clip(chance, 0.0, _SURE))

    def without(self, fix_ids: Collection[str]) -> Postings:
        """The same, with some fixes that match no more."""
        rows = [row for row, fix_id in enumerate(self.fix_ids) if fix_id in fix_ids] if fix_ids else []
        if not rows:
            return self
        make = self.make.copy()
        make[rows] = _NOWHERE
        return replace(self, make=make)

    def allowed(self, make: str | None, model: str | None, year: int | None) -> NDArray[np.bool_]:
        """Which fixes are for this vehicle; what is not known of it excludes nothing."""
        mask = self.make > _NOWHERE
        if make is not None:
            mask &= (self.make == -1) | (self.make == self.places.get(f"make {make_key(make)}", -2))
        if model is not None:
            mask &= (self.model == -1) | (self.model == self.places.get(f"model {model_key(model)}", -2))
        if year is not None:
            mask &= (self.years[:, 0] <= year) & (year <= self.years[:, 1])
        return mask

    def _known_model(self, make: str | None, model: str | None) -> str | None:
        """The model, or where no fix names it, the one of the make that it is a variant of."""
        if model is None or make is None or f"model {model_key(model)}" in self.places:
            return model
        numbers = set(self.model[self.make == self.places.get(f"make {make_key(make)}", -2)].tolist())
        names = [name.removeprefix("model ") for name, at in self.places.items() if at in numbers]
        return best_model(model_key(model), names) or model

    def gates(self, make: str | None, model: str | None, year: int | None) -> Iterator[NDArray[np.bool_]]:
        """Which fixes may be the answer: those for this vehicle, then those of wider and wider circles.

        This vehicle, or the model that it is a variant of; the model in any year; cars of the same platform; the make;
        any car. A circle that adds nothing is left out.
        """
        model = self._known_model(make, model)
        mask = self.allowed(make, model, year)
        yield mask
        sisters = [
            (self.places.get(f"make {brand}", -2), self.places.get(f"model {name}", -2))
            for brand, name in sisters_of(make, model)
        ]
        circles = [self.allowed(make, model, None)]
        if sisters:
            both = np.zeros(len(self), dtype=np.bool_)
            for brand_at, name_at in sisters:
                both |= (self.make == brand_at) & (self.model == name_at)
            circles.append(circles[0] | both)
        circles += [self.allowed(make, None, None) | circles[-1], self.make > _NOWHERE]
        for circle in circles:
            wider = mask | circle
            if int(wider.sum()) > int(mask.sum()):
                mask = wider
                yield mask


def _scopes(scopes: Sequence[Scope], places: dict[str, int]) -> Any:
    """Numbers of the makes and models, and the years; new names are put into ``places``."""

    def number(kind: str, key: str) -> int:
        return places.setdefault(f"{kind} {key}", len(places)) if key else -1

    make = np.array([number("make", make_key(scope.make)) for scope in scopes], dtype=np.int32)
    model = np.array([number("model", model_key(scope.model)) for scope in scopes], dtype=np.int32)
    years = [(scope.year_from or 0, scope.year_to or _LAST_YEAR) for scope in scopes]
    return make, model, np.array(years, dtype=np.int32).reshape(-1, 2)


def _added(
    one: tuple[NDArray[np.int32], NDArray[np.float32]], other: tuple[NDArray[np.int32], NDArray[np.float32]]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Both together, each row once, rising."""
    rows, inverse = np.unique(np.concatenate([one[0], other[0]]), return_inverse=True)
    counts = np.bincount(inverse, weights=np.concatenate([one[1], other[1]]), minlength=rows.size)
    return rows.astype(np.int32), counts.astype(np.float32)
