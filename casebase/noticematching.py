"""Which notice a car's story belongs to, and whether it belongs to one at all.

Among the notices of the vehicle (:meth:`casebase.noticeindex.NoticeIndex.gate`) a conditional logit over a few
figures of the words gives the shares; a logistic model over the figures of the best one tells a known story from one
that the library does not hold. What a word is worth is measured against the other notices of the same make, because
makers have phrases of their own. The weights stand in ``content/weights.toml``,
fitted by ``benchmarks/notices.py``.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from casebase.tokens import CONCEPT, PAIR, WORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from casebase.noticeindex import Gate, NoticeIndex
    from casebase.tokens import Terms

__all__ = ["FIGURES", "SIGNS", "NoticeWeights", "Told", "figures", "match_notices", "signs"]

_WEIGHTS: Final = Path(__file__).parent / "content" / "weights.toml"
_MOST: Final = 256
"""Notices that are looked at closely."""
_TELLING: Final = 0.7
"""How rare a word has to be to be named: about every second notice of the make has it."""
_WORD_SPREAD: Final = 30.0
_PAIR_SPREAD: Final = 60.0
"""Words and pairs that a usual notice has: their chance in the background is that of one notice, spread over them."""

FIGURES: Final = (
    "word_likelihood", "pair_likelihood", "word_presence", "share_found", "weight_found", "weight_found_in_make",
    "length", "texts", "scope",
)  # fmt: skip
"""Of each notice: log likelihood ratio of the words and of the pairs (nats / 10), of their presence alone (nats / 10);
share found of the words that any notice has, the same weighted by how telling they are among all and among the make's;
logarithms of the length, the number of texts and the number of vehicles."""

SIGNS: Final = (
    "weight_found", "weight_found_in_make", "word_likelihood_each", "word_presence_each", "pair_likelihood_each",
    "share_found", "words", "share", "length", "level_1", "level_2", "level_3",
)  # fmt: skip
"""Of the best notice, for whether the story is known; ``level_n``: how far the vehicle was backed off."""


@dataclass(frozen=True, slots=True)
class NoticeWeights:
    """Fitted weights.

    Args:
        ranking: of :data:`FIGURES`.
        known: of :data:`SIGNS`.
        known_base: logit of a known story where all signs are 0.
    """

    ranking: NDArray[np.float64]
    known: NDArray[np.float64]
    known_base: float

    @classmethod
    @cache
    def load(cls, path: Path = _WEIGHTS) -> NoticeWeights:
        """The weights that come with the program."""
        data: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        ranking = np.array([float(data["ranking"][name]) for name in FIGURES])
        known = np.array([float(data["known"][name]) for name in SIGNS])
        return cls(ranking, known, float(data["known"]["base"]))


@dataclass(frozen=True, slots=True)
class Told:
    """What the notices say to a story.

    Args:
        rows: int32 ``(notices,)``: best first.
        share: float64, same shape: of each among them; sums to 1.
        p_known: probability that the story is one of the library's notices at all.
        level: how far the vehicle was backed off; see :class:`casebase.noticeindex.Gate`.
        found: for each row the places, in the terms, of the words that speak for it most, the strongest first.
    """

    rows: NDArray[np.int32]
    share: NDArray[np.float64]
    p_known: float
    level: int
    found: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """:data:`FIGURES` of some notices.

    Args:
        rows: int32 ``(notices,)``.
        values: float64 ``(notices, figures)``.
        words: how many words the story has, each once.
        said: how many it has.
        telling: float64 ``(words, notices)``: how rare each word is that is there, 0 for stop words and absent ones.
        first: where each word stands first among the terms.
    """

    rows: NDArray[np.int32]
    values: NDArray[np.float64]
    words: int
    said: int
    telling: NDArray[np.float64]
    first: NDArray[np.int64]


def figures(index: NoticeIndex, terms: Terms, gate: Gate) -> Figures | None:
    """The figures of the notices that a story may belong to; None where no word of it is known.

    Args:
        index: of all notices.
        terms: of one story.
        gate: which notices.
    """
    is_word = terms.of_kind(WORD, CONCEPT)
    at = np.flatnonzero(is_word)
    words, first, times = np.unique(terms.number[at], return_index=True, return_counts=True)
    pairs, pair_times = np.unique(terms.number[terms.kind == PAIR], return_counts=True)
    if not words.size or not gate.rows.size:
        return None
    which, rows, counts = index.postings(words)
    total = len(index)
    in_all = np.bincount(which, minlength=words.size)
    if not in_all.any():
        return None
    rarity = np.log1p((total - in_all + 0.5) / (in_all + 0.5))
    chosen = gate.rows
    place = np.full(total, -1, dtype=np.int32)
    place[chosen] = np.arange(chosen.size, dtype=np.int32)
    if chosen.size > _MOST:
        there = place[rows] >= 0
        rough = np.bincount(place[rows[there]], weights=rarity[which[there]], minlength=chosen.size)
        best = np.sort(np.argpartition(-rough, _MOST)[:_MOST])
        chosen = chosen[best]
        place.fill(-1)
        place[chosen] = np.arange(chosen.size, dtype=np.int32)
    behind = np.zeros(total, dtype=np.bool_)
    behind[gate.background] = True
    beside = gate.background.size
    in_make = np.bincount(which, weights=behind[rows], minlength=words.size)
    table = _table(words.size, chosen.size, which, rows, counts, place)
    length = np.maximum(index.words[chosen], 1).astype(np.float64)
    rate = 0.5 * (in_make + 0.2) / (beside * _WORD_SPREAD)
    gain = np.log1p(table / length / rate[:, None])
    pair_which, pair_rows, pair_counts = index.postings(pairs)
    pair_table = _table(pairs.size, chosen.size, pair_which, pair_rows, pair_counts, place)
    pair_make = np.bincount(pair_which, weights=behind[pair_rows], minlength=pairs.size)
    pair_rate = 0.5 * (pair_make + 0.2) / (beside * _PAIR_SPREAD)
    there = table > 0
    usual, known = in_make > 0, in_all > 0
    presence = np.log((0.2 + 0.8 * there) / (0.2 + 0.8 * in_make[:, None] / beside))[usual].sum(axis=0)
    rarity_make = np.log1p((beside - in_make + 0.5) / (in_make + 0.5))
    values = np.stack(
        [
            times @ gain / 10.0,
            pair_times @ np.log1p(pair_table / length / pair_rate[:, None]) / 10.0,
            presence / 10.0,
            there[known].mean(axis=0),
            rarity[known] @ there[known] / max(rarity[known].sum(), 1e-9),
            rarity_make[usual] @ there[usual] / max(rarity_make[usual].sum(), 1e-9),
            np.log(length),
            np.log1p(index.texts[chosen]),
            np.log(np.maximum(index.scopes[chosen], 1)),
        ],
        axis=1,
    )
    telling = rarity_make * terms.is_free[at[first]]
    return Figures(chosen, values, int(words.size), int(times.sum()), there * telling[:, None], at[first])


def _table(
    terms: int,
    columns: int,
    which: NDArray[np.int64],
    rows: NDArray[np.int32],
    counts: NDArray[np.int32],
    place: NDArray[np.int32],
) -> NDArray[np.float64]:
    """How often each term stands in each of the chosen notices."""
    table = np.zeros((terms, columns))
    at = place[rows]
    there = at >= 0
    table[which[there], at[there]] = counts[there]
    return table


def signs(found: Figures, best: int, share: float, level: int) -> NDArray[np.float64]:
    """:data:`SIGNS` of the best notice."""
    value = dict(zip(FIGURES, found.values[best].tolist(), strict=True))
    return np.array(
        [
            value["weight_found"], value["weight_found_in_make"], value["word_likelihood"] * 10.0 / found.said,
            value["word_presence"] * 10.0 / found.words, value["pair_likelihood"] * 10.0 / found.said,
            value["share_found"], np.log1p(found.words), share, value["length"], level == 1, level == 2, level == 3,
        ],
        dtype=np.float64,
    )  # fmt: skip


def match_notices(
    index: NoticeIndex, terms: Terms, gate: Gate, weights: NoticeWeights, *, most: int = 10, reasons: int = 8
) -> Told | None:
    """The notices that fit a story; None where none can.

    Args:
        index: of all notices.
        terms: of one story.
        gate: the notices of its vehicle.
        weights: fitted ones.
        most: how many notices are told.
        reasons: how many words for each.
    """
    found = figures(index, terms, gate)
    if found is None:
        return None
    score = found.values @ weights.ranking
    share = np.exp(score - score.max())
    share /= share.sum()
    order = np.lexsort((found.rows, -share))[:most]
    best = int(order[0])
    known = signs(found, best, float(share[best]), gate.level) @ weights.known + weights.known_base
    telling = [_telling(found, int(column), reasons) for column in order]
    return Told(found.rows[order], share[order], float(1.0 / (1.0 + np.exp(-known))), gate.level, tuple(telling))


def _telling(found: Figures, column: int, most: int) -> tuple[int, ...]:
    rare = found.telling[:, column]
    order: Sequence[int] = np.argsort(-rare, kind="stable")[:most].tolist()
    return tuple(int(found.first[i]) for i in order if rare[i] > _TELLING)
