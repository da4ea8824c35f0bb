"""What cases show, as arrays: thousands of them at a time, here or in another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from casebase.postings import TERM_MASK, number_of_term
from casebase.runs import distinct, key_of, numbers_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from casebase.catalogue import FeatureScale
    from casebase.query import Query
    from casebase.tokens import Tokenizer

__all__ = ["Evidence", "terms_of_query"]


def terms_of_query(query: Query, scales: Mapping[str, FeatureScale]) -> dict[str, float]:
    """The terms of a case, other than its words, each with how much of a case it counts as."""
    out: dict[str, float] = {}
    for dtc in query.dtcs:
        named = [f"d1|{dtc.code}"]
        if dtc.role:
            named.append(f"d2|{dtc.role}|{dtc.code}")
            if dtc.failure_type:
                named.append(f"d3|{dtc.role}|{dtc.code}|{dtc.failure_type}")
        for term in named:
            out[term] = max(out.get(term, 0.0), dtc.weight)
    for name, (odds, _) in query.causes.items():
        out[f"c|{name}"] = odds
    for code in query.findings:
        out[f"g|{code}"] = 1.0
    for role in query.silent:
        out[f"s|{role}"] = 1.0
    for name, value in query.features.items():
        if name in scales:
            out[f"f|{name}|{scales[name].bin_of(value).name}"] = 1.0
    return out


@dataclass(frozen=True, slots=True)
class Evidence:
    """The terms of some cases: words, each counted once a case, and the others by name.

    Args:
        word_case: int32 ``(words,)``: of which case.
        word: uint64, same shape: the term's number.
        case: int32 ``(terms,)``: of which case.
        term: int32, same shape: index in ``names``.
        count: float32, same shape: how much of a case.
        names: each term once.
        size: how many cases.
    """

    word_case: NDArray[np.int32]
    word: NDArray[np.uint64]
    case: NDArray[np.int32]
    term: NDArray[np.int32]
    count: NDArray[np.float32]
    names: tuple[str, ...]
    size: int

    @classmethod
    def of(cls, queries: Sequence[Query], tokenizer: Tokenizer, scales: Mapping[str, FeatureScale]) -> Evidence:
        """Of what was seen on some cars."""
        known: dict[str, int] = {}
        at: list[int] = []
        named: list[int] = []
        counts: list[float] = []
        for case, query in enumerate(queries):
            terms = terms_of_query(query, scales)
            at.extend([case] * len(terms))
            named.extend([known.setdefault(term, len(known)) for term in terms])
            counts.extend(terms.values())
        word_case, word = _words([query.symptom for query in queries], tokenizer)
        return cls(
            word_case, word, np.array(at, dtype=np.int32), np.array(named, dtype=np.int32),
            np.array(counts, dtype=np.float32), tuple(known), len(queries),
        )  # fmt: skip

    @property
    def numbers(self) -> NDArray[np.uint64]:
        """Numbers of the names."""
        return np.array([number_of_term(name) for name in self.names], dtype=np.uint64)


def _words(texts: Sequence[str], tokenizer: Tokenizer) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
    """Of which text, and which; each once a text however often it is said."""
    terms = tokenizer.terms(texts, pairs=False)
    keys = distinct(key_of(terms.text[terms.is_free], terms.number[terms.is_free] & TERM_MASK))
    return rows_of(keys), numbers_of(keys)
