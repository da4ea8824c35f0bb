"""Texts as numbered terms, thousands of texts at a time.

The definition of what a term of a text is stands here once, for the library's cases and notices and for the question
alike. All texts of a call lie behind one another as code points, and every step is an array operation over all of
them, so that a million cases are read in minutes and one question in a fraction of a millisecond.

Terms are 64-bit numbers. A piece of text is numbered by a polynomial over its code points (odd base, modulo 2**64),
which gives the number of any piece from two cumulated sums. Kinds of terms differ by a tag:

=========  ==============================================================================================
concept    a phrase of the vocabulary, whatever its language: 续航 and "range" are one
word       a Latin word without its English ending, or two neighbouring Chinese characters
pair       two neighbouring Latin words, or three neighbouring Chinese characters
=========  ==============================================================================================

A phrase is found longest first; a Latin end of it needs a word boundary, a Chinese one none. ``is_free`` says that no
phrase covers a word and that it is no stop word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.folding import fold

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray


__all__ = ["CONCEPT", "PAIR", "WORD", "Terms", "Tokenizer", "number_of", "stem"]

CONCEPT: Final = 0
WORD: Final = 1
PAIR: Final = 2

_BASE: Final = 0x9E3779B97F4A7C15
_INVERSE: Final = pow(_BASE, -1, 1 << 64)
_TAGS: Final = np.array([0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0], dtype=np.uint64)
_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)
_GAP: Final = "\n"
"""Between two texts; folding leaves no other one."""
_ENDINGS: Final = ("ing", "ed", "es", "s")
_LEAST_STEM: Final = 4
_LONGEST_WORD: Final = 40
_BEGINNING: Final = 2
_LONGEST_PHRASE: Final = 62
_MOST_CODE: Final = 0x110000

_LATIN, _DIGIT, _HAN = 1, 2, 3


def _classes() -> NDArray[np.uint8]:
    kind = np.zeros(_MOST_CODE, dtype=np.uint8)
    kind[ord("a") : ord("z") + 1] = _LATIN
    kind[ord("0") : ord("9") + 1] = _DIGIT
    kind[0xC0:0x250] = _LATIN
    kind[0x3400:0x4DC0] = _HAN
    kind[0x4E00:0xA000] = _HAN
    return kind


_CLASS: Final = _classes()


def _mixed(numbers: NDArray[np.uint64], kind: int) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        x: NDArray[np.uint64] = (numbers ^ _TAGS[kind]) * _MIX
        mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
        return mixed


def number_of(text: str, kind: int) -> int:
    """The number of a term whose text is known."""
    value = 0
    for at, char in enumerate(text):
        value = (value + ord(char) * pow(_BASE, at, 1 << 64)) % (1 << 64)
    return int(_mixed(np.array([value], dtype=np.uint64), kind)[0])


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of some texts, in the order of the text for each kind.

    Args:
        text: int64 ``(terms,)``: of which text.
        number: uint64, same shape.
        kind: uint8, same shape: :data:`CONCEPT`, :data:`WORD` or :data:`PAIR`.
        is_free: bool, same shape: a concept, or a word that no phrase covers and that is no stop word.
        start, end: int64, same shape: where it stands in ``source``.
        source: all texts, folded, behind one another.
    """

    text: NDArray[np.int64]
    number: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    is_free: NDArray[np.bool_]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    source: str

    def said(self, at: int) -> str:
        """The words of one term."""
        return self.source[self.start[at] : self.end[at]]

    def of_kind(self, *kinds: int) -> NDArray[np.bool_]:
        """Which terms are of one of these kinds."""
        return np.isin(self.kind, kinds)


class Tokenizer:
    """Numbers the terms of texts by one vocabulary.

    Args:
        phrases: folded phrase -> name of its concept.
        quiet: folded phrases that say that nothing is wrong.
        filler: folded phrases without meaning.
        stop: Latin words without meaning.
    """

    def __init__(
        self, phrases: Mapping[str, str], quiet: Sequence[str], filler: Sequence[str], stop: Collection[str]
    ) -> None:
        self._told, self._quiet, self._filler, self._stop_words = phrases, quiet, filler, stop
        self._last: tuple[str, Terms] | None = None

    @cached_property
    def _phrases(self) -> _Phrases:
        told: dict[str, int] = {}
        names = sorted(set(self._told.values()))
        numbers = {name: i for i, name in enumerate(names)}
        told.update(dict.fromkeys(self._filler, -1))
        told.update({phrase: numbers[name] for phrase, name in self._told.items()})
        told.update(dict.fromkeys(self._quiet, -2))
        concepts = np.array([number_of(name, CONCEPT) for name in names], dtype=np.uint64)
        return _Phrases.of(told, concepts)

    @cached_property
    def _stop(self) -> NDArray[np.uint64]:
        return np.sort(np.array([number_of(stem(word), WORD) for word in self._stop_words], dtype=np.uint64))

    def terms_of_one(self, text: str) -> Terms:
        """All terms of one text; the last one is remembered, because several ask about the same complaint."""
        last = self._last
        if last is None or last[0] != text:
            last = self._last = text, self.terms([text])
        return last[1]

    def terms(self, texts: Sequence[str], *, pairs: bool = True) -> Terms:
        """The terms of texts.

        Args:
            texts: as people wrote them; NUL and lone surrogates count as separators.
            pairs: whether neighbouring words are terms, too.
        """
        source = _GAP.join([fold(text) for text in texts]) + _GAP
        codes = np.frombuffer(source.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.int64)
        kinds = _CLASS[codes]
        owner = np.cumsum(codes == ord(_GAP)) - (codes == ord(_GAP))
        sums = _Sums(codes)
        taken, concept_at, concept_end, concept_number = self._phrases.find(sums, kinds)
        starts, ends = _latin_words(kinds)
        numbers = _mixed(sums.numbers(starts, _stemmed(codes, starts, ends)), WORD)
        covered = np.concatenate(([0], np.cumsum(taken)))
        is_stop = _is_in(numbers, self._stop)
        free = (covered[ends] == covered[starts]) & ~is_stop
        two, two_free, three = _chinese(kinds, taken)
        parts = [
            (CONCEPT, concept_at, concept_end, concept_number, np.ones(concept_at.size, dtype=np.bool_)),
            (WORD, starts, ends, numbers, free),
            (WORD, two, two + 2, _mixed(sums.numbers(two, two + 2), WORD), two_free),
        ]
        if pairs:
            near = (starts[1:] - ends[:-1] <= 2) & (owner[starts[1:]] == owner[starts[:-1]])
            with np.errstate(over="ignore"):
                both = _mixed(numbers[:-1] * np.uint64(31) + numbers[1:], PAIR)[near]
            none = np.zeros(max(both.size, three.size), dtype=np.bool_)
            parts += [
                (PAIR, starts[:-1][near], ends[1:][near], both, none[: both.size]),
                (PAIR, three, three + 3, _mixed(sums.numbers(three, three + 3), PAIR), none[: three.size]),
            ]
        start = np.concatenate([part[1] for part in parts])
        return Terms(
            owner[start],
            np.concatenate([part[3] for part in parts]),
            np.concatenate([np.full(part[1].size, part[0], dtype=np.uint8) for part in parts]),
            np.concatenate([part[4] for part in parts]),
            start,
            np.concatenate([part[2] for part in parts]),
            source,
        )


class _Sums:
    """Cumulated sums from which the number of any piece follows."""

    def __init__(self, codes: NDArray[np.int64]) -> None:
        size = codes.size
        self.size = size
        with np.errstate(over="ignore"):
            powers = np.full(size + 1, _BASE, dtype=np.uint64)
            powers[0] = 1
            np.cumprod(powers, out=powers)
            self._inverse = np.full(size + 1, _INVERSE, dtype=np.uint64)
            self._inverse[0] = 1
            np.cumprod(self._inverse, out=self._inverse)
            self._sums = np.zeros(size + 1, dtype=np.uint64)
            np.cumsum(codes.astype(np.uint64) * powers[:-1], out=self._sums[1:])

    def numbers(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The numbers of the pieces ``[start, end)``."""
        with np.errstate(over="ignore"):
            return (self._sums[ends] - self._sums[starts]) * self._inverse[starts]


@dataclass(frozen=True, slots=True)
class _Phrases:
    """The phrases of a vocabulary by their length.

    Args:
        beginnings: uint64, rising: numbers of the first two characters of all.
        lengths: int64, same shape: bit n stands for a phrase of n characters.
        by_length: length -> numbers (rising) and meanings; the longest first.
        concepts: uint64: numbers of the concepts.
    """

    beginnings: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    by_length: Mapping[int, tuple[NDArray[np.uint64], NDArray[np.int64]]]
    concepts: NDArray[np.uint64]

    @classmethod
    def of(cls, told: Mapping[str, int], concepts: NDArray[np.uint64]) -> _Phrases:
        groups: dict[int, list[tuple[int, int]]] = {}
        for phrase, meaning in told.items():
            groups.setdefault(len(phrase), []).append((_plain_number(phrase), meaning))
        by_length = {}
        for length in sorted(groups, reverse=True):
            entries = sorted(groups[length])
            by_length[length] = (
                np.array([number for number, _ in entries], dtype=np.uint64),
                np.array([meaning for _, meaning in entries], dtype=np.int64),
            )
        lengths: dict[int, int] = {}
        for phrase in told:
            at = _plain_number(phrase[:_BEGINNING])
            lengths[at] = lengths.get(at, 0) | 1 << min(len(phrase), _LONGEST_PHRASE)
        beginnings = np.array(sorted(lengths), dtype=np.uint64)
        return cls(beginnings, np.array([lengths[at] for at in sorted(lengths)], dtype=np.int64), by_length, concepts)

    def find(
        self, sums: _Sums, kinds: NDArray[np.uint8]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
        """Which characters phrases cover, and where the concepts stand."""
        taken = np.zeros(sums.size, dtype=np.bool_)
        is_latin = (kinds == _LATIN) | (kinds == _DIGIT)
        inside_word = np.concatenate(([False], is_latin[:-1] & is_latin[1:], [False]))
        opens = np.flatnonzero(~inside_word[:-1])
        opens = opens[opens + _BEGINNING <= sums.size]
        begun = sums.numbers(opens, opens + _BEGINNING)
        where = np.minimum(np.searchsorted(self.beginnings, begun), self.beginnings.size - 1)
        hit = self.beginnings[where] == begun
        places, lengths = opens[hit], self.lengths[where[hit]]
        starts, ends, meanings = [], [], []
        there = int(np.bitwise_or.reduce(lengths)) if lengths.size else 0
        for length, (numbers, meaning) in self.by_length.items():
            if not there >> min(length, _LONGEST_PHRASE) & 1:
                continue
            at = places[(lengths >> min(length, _LONGEST_PHRASE) & 1).astype(np.bool_)]
            at = at[at + length <= sums.size]
            # What is taken already is longer, so that an overlap shows at one of the two ends.
            at = at[~(taken[at] | taken[at + length - 1] | inside_word[at + length])]
            found = sums.numbers(at, at + length)
            where = np.minimum(np.searchsorted(numbers, found), numbers.size - 1)
            hit = numbers[where] == found
            at, told = at[hit], meaning[where[hit]]
            for step in range(length):
                taken[at + step] = True
            named = told >= 0
            starts.append(at[named])
            ends.append(at[named] + length)
            meanings.append(told[named])
        none = np.empty(0, dtype=np.int64)
        start = np.concatenate([none, *starts])
        number = self.concepts[np.concatenate([none, *meanings])]
        return taken, start, np.concatenate([none, *ends]), number


def _plain_number(text: str) -> int:
    value = 0
    for at, char in enumerate(text):
        value = (value + ord(char) * pow(_BASE, at, 1 << 64)) % (1 << 64)
    return value


def _is_in(numbers: NDArray[np.uint64], among: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not among.size:
        return np.zeros(numbers.size, dtype=np.bool_)
    where = np.minimum(np.searchsorted(among, numbers), among.size - 1)
    found: NDArray[np.bool_] = among[where] == numbers
    return found


def _latin_words(kinds: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Runs of letters and digits with a letter in them, of two characters at least."""
    inside = (kinds == _LATIN) | (kinds == _DIGIT)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], inside, [False])).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    letters = np.concatenate(([0], np.cumsum(kinds == _LATIN)))
    good = (ends - starts >= 2) & (ends - starts <= _LONGEST_WORD) & (letters[ends] > letters[starts])
    return starts[good], ends[good]


def _stemmed(codes: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the words end without their English endings."""
    out = ends.copy()
    open_ = np.ones(ends.size, dtype=np.bool_)
    for ending in _ENDINGS:
        fits = open_ & (ends - starts - len(ending) >= _LEAST_STEM)
        for at, char in enumerate(reversed(ending), start=1):
            fits &= codes[np.maximum(ends - at, 0)] == ord(char)
        out[fits] -= len(ending)
        open_ &= ~fits
    return out


def stem(word: str) -> str:
    """An English word without its ending."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            return word[: -len(ending)]
    return word


def _chinese(
    kinds: NDArray[np.uint8], taken: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Where two and three Chinese characters stand together, and of the twos those that no phrase touches."""
    han = kinds == _HAN
    two = np.flatnonzero(han[:-1] & han[1:])
    three = np.flatnonzero(han[:-2] & han[1:-1] & han[2:]) if han.size > 2 else np.empty(0, dtype=np.int64)
    return two, ~(taken[two] | taken[two + 1]), three
