"""How much of a complaint the sentences of each fix of ours say: BM25 over what customers say of it.

The posterior counts concepts, which join both languages and all wordings, and loses what one wording has beyond them.
Here every word counts by how few fixes say it, and so do pairs of words: ``gain = weight · share`` nats, where the
share is that of the complaint's own information (sum of ``idf``) that a fix's sentences hold. Weights stand in
``content/weights.toml``. Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009).
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from casebase.meaning import Meaning
from casebase.tokens import CONCEPT, PAIR, WORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from casebase.catalogue import Fix
    from casebase.postings import Postings
    from casebase.tokens import Terms, Tokenizer

__all__ = ["SentenceWeights", "Sentences"]

_WEIGHTS: Final = Path(__file__).parent / "content" / "weights.toml"
_SATURATION, _LENGTH = 1.2, 0.75
"""``k1`` and ``b`` of BM25, as usual."""
_OF_KIND: Final = {CONCEPT: 1.0, WORD: 1.0, PAIR: 0.5}


@dataclass(frozen=True, slots=True)
class SentenceWeights:
    """Set on complaints that are not reported.

    Args:
        weight: nats for a fix whose sentences hold all of a complaint.
        most: nats beyond which nothing is added.
        none: nats for "none of these", as far as the fixes gained them.
        beside: share of it that counts beside anything measured.
    """

    weight: float
    most: float
    none: float
    beside: float

    @classmethod
    @cache
    def load(cls, path: Path = _WEIGHTS) -> SentenceWeights:
        """The weights that come with the program."""
        data: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["sentences"]
        return cls(*(float(data[name]) for name in ("weight", "most", "none", "beside")))


class Sentences:
    """The sentences of some fixes by term.

    Args:
        fixes: each with its sentences in both languages.
        tokenizer: of the library's vocabulary.
    """

    def __init__(self, fixes: Sequence[Fix], tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.fix_ids = [fix.fix_id for fix in fixes]
        told = [(row, said) for row, fix in enumerate(fixes) for said in (*fix.symptoms_zh, *fix.symptoms_en)]
        self._said = [said for _, said in told]
        self._owner = np.array([row for row, _ in told], dtype=np.int64)
        text, number, weight = _terms(tokenizer.terms(self._said))
        order = np.argsort(number, kind="stable")
        self._at, weight = text[order], weight[order]
        self._numbers, start = np.unique(number[order], return_index=True)
        self._start = np.append(start, order.size)
        self._rows: tuple[tuple[str, ...], NDArray[np.int32]] | None = None
        self._length = np.bincount(self._owner[self._at], weights=weight, minlength=len(fixes))

    def ask(self, symptom: str, postings: Postings, weights: SentenceWeights | None = None) -> Meaning | None:
        """What the sentences say to a complaint; None where they have no word of it.

        Args:
            symptom: the complaint.
            postings: of the library.
            weights: None takes those that come with the program.
        """
        weights = weights or SentenceWeights.load()
        _, number, value = _terms(self._tokenizer.terms_of_one(symptom))
        number, first = np.unique(number, return_index=True)
        value = value[first]
        at = np.minimum(np.searchsorted(self._numbers, number), max(0, self._numbers.size - 1))
        known = self._numbers[at] == number if self._numbers.size else np.zeros(number.size, dtype=np.bool_)
        if not known.any():
            return None
        fixes = len(self.fix_ids)
        score, of_sentence = np.zeros(fixes), np.zeros(len(self._said))
        room = _SATURATION * (1.0 - _LENGTH + _LENGTH * self._length / float(self._length.mean()))
        whole = float(value[~known].sum()) * _idf(fixes, 0)
        for i, worth in zip(at[known].tolist(), value[known].tolist(), strict=True):
            sentences = self._at[self._start[i] : self._start[i + 1]]
            times = np.bincount(self._owner[sentences], minlength=fixes)
            told = worth * _idf(fixes, int(np.count_nonzero(times)))
            whole += told
            score += told * times / (times + room)
            of_sentence[sentences] += told
        rows = self._rows_in(postings)
        gain = np.minimum(weights.most, weights.weight * score / whole)
        there = np.flatnonzero((gain > 0.0) & (rows >= 0))
        said = self._nearest(of_sentence)
        return Meaning(
            rows[there],
            gain[there],
            tuple(said[i] for i in there),
            weights.most,
            weights.none,
            weights.beside,
            "sentence",
        )

    def _rows_in(self, postings: Postings) -> NDArray[np.int32]:
        """Rows of the fixes, -1 for those that are not there; asked anew only of other arrays."""
        if self._rows is None or self._rows[0] is not postings.fix_ids:
            at = {fix_id: row for row, fix_id in enumerate(postings.fix_ids)}
            rows = np.array([at.get(fix_id, -1) for fix_id in self.fix_ids], dtype=np.int32)
            self._rows = postings.fix_ids, rows
        return self._rows[1]

    def _nearest(self, of_sentence: NDArray[np.float64]) -> list[str]:
        """The sentence of each fix that shares most with the complaint; empty where none does."""
        out = [""] * len(self.fix_ids)
        best = np.zeros(len(self.fix_ids))
        for at in np.flatnonzero(of_sentence):
            row = self._owner[at]
            if of_sentence[at] > best[row]:
                best[row], out[row] = of_sentence[at], self._said[at]
        return out


def _idf(fixes: int, having: int) -> float:
    """What a term tells that so many of the fixes have."""
    return math.log1p((fixes - having + 0.5) / (having + 0.5))


def _terms(terms: Terms) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float64]]:
    """Of which text, number and weight of each term; kinds do not share numbers."""
    weight = np.zeros(terms.kind.size)
    for kind, value in _OF_KIND.items():
        weight[terms.kind == kind] = value
    return terms.text, terms.number, weight
