"""Eight characters at once: digits in the bytes of 64-bit words become numbers by shifting and masking.

Words hold the text as it stands in memory, the first character in the lowest byte. Positions may be anywhere; rows of
some words each are gathered in one go.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Words", "bytes_from_hex", "decimal", "field", "is_decimal", "marks", "number_from_decimal", "rows_at"]

Words = np.ndarray[tuple[int], np.dtype[np.uint64]]
"""uint64 (n,), eight characters or bytes each."""

_ZEROS: Final = 0x3030303030303030
_LOW: Final = np.uint64(0x0F0F0F0F0F0F0F0F)
_ONES: Final = np.uint64(0x0101010101010101)
_HEX_BOUND: Final = np.uint64(0x1010101010101010)
_TO_BOUND: Final = np.uint64(0x0606060606060606)
_CASE: Final = np.uint64(0x2020202020202020)
_HIGH: Final = np.uint64(0x8080808080808080)
_ABOVE_NINE: Final = np.uint64(0x7676767676767676)
_PAIRS: Final = np.uint64(0x00FF00FF00FF00FF)
_FOURS: Final = np.uint64(0x0000FFFF0000FFFF)
_EIGHT: Final = np.uint64(0x00000000FFFFFFFF)
_WORD: Final = 8
_GOOD: Final = np.array(1, np.bool_)


def rows_at(text: NDArray[np.uint8], at: NDArray[np.intp], words: int) -> NDArray[np.uint64]:
    """uint64 (n, words): so many words from each place on; the text must go on behind the last of them."""
    size = words * _WORD
    every: NDArray[Any] = np.ndarray((len(text) - size + 1,), f"V{size}", text, 0, (1,))
    rows: NDArray[np.uint64] = every[at].view(np.dtype("<u8")).reshape(-1, words)
    return rows


def field(rows: NDArray[np.uint64], at: int) -> NDArray[np.uint64]:
    """uint64 (n,): the eight characters from ``at`` on of each row."""
    word, byte = divmod(at, _WORD)
    whole: NDArray[np.uint64] = rows[word]
    if not byte:
        return whole
    out = whole >> np.uint64(8 * byte)
    if word + 1 < len(rows):
        out |= rows[word + 1] << np.uint64(64 - 8 * byte)
    return out


def is_decimal(words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """bool (n,): whether all eight characters are decimal digits."""
    value = words ^ np.uint64(_ZEROS)
    above = value + _ABOVE_NINE
    above |= value
    above &= _HIGH
    good: NDArray[np.bool_] = above == 0
    return good


def number_from_decimal(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """uint64 (n,): the numbers of eight decimal digits."""
    out = words & _LOW
    for base, bits, kept in ((10, 8, _PAIRS), (100, 16, _FOURS), (10_000, 32, _EIGHT)):
        lower = out >> np.uint64(bits)
        out *= np.uint64(base)
        out += lower
        out &= kept
    return out


def decimal(rows: NDArray[np.uint64], at: int, digits: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """int64 (n,): the number of some digits from ``at`` on of each row, and whether they are digits at all."""
    first = min(digits, _WORD)
    words = field(rows, at)
    if first == _WORD and (words == words[0]).all():
        # The leading digits of a time are the same for a while.
        words = words[:1]
    if first < _WORD:
        words = words << np.uint64(8 * (_WORD - first)) | np.uint64(_ZEROS & (1 << 8 * (_WORD - first)) - 1)
    good, value = is_decimal(words), number_from_decimal(words).view(np.int64)
    if digits > _WORD:
        rest, right = decimal(rows, at + _WORD, digits - _WORD)
        value = value * 10 ** (digits - _WORD) + rest
        good = good & right
    elif len(value) < rows.shape[1]:
        value, good = np.broadcast_to(value, rows.shape[1]), np.broadcast_to(good, rows.shape[1])
    return value, good


def bytes_from_hex(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """uint32 (n,): four bytes from eight hexadecimal digits, the first byte lowest, and whether they are digits."""
    try:
        # All at once, and fastest, when nothing is wrong with any of them.
        read = np.frombuffer(bytearray(unhexlify(np.ascontiguousarray(words).data)), np.dtype("<u4"))
    except ValueError:
        return _bytes_from_some_hex(words)
    return read, np.broadcast_to(_GOOD, len(words))


def _bytes_from_some_hex(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    letter = words >> np.uint64(6)
    letter &= _ONES
    value = letter * np.uint64(9)
    work = words & _LOW
    value += work
    # A digit is below ten, a letter from ten to fifteen, and both are what that number is written as.
    wrong = value + _TO_BOUND
    np.left_shift(letter, np.uint64(4), work)
    wrong ^= work
    wrong |= value
    wrong &= _HEX_BOUND
    letter *= np.uint64(7)
    letter += value
    letter += np.uint64(_ZEROS)
    np.left_shift(work, np.uint64(1), work)
    np.invert(work, work)
    work &= words
    work ^= letter
    wrong |= work
    for bits, kept in ((8, _PAIRS), (8, _FOURS), (16, _EIGHT)):
        np.right_shift(value, np.uint64(bits), work)
        if kept is _PAIRS:
            value <<= np.uint64(4)
        value |= work
        value &= kept
    return value.astype(np.uint32), wrong == 0


def marks(text: NDArray[np.uint8], mark: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where lines end, and where in each of them a mark stands first.

    Returns:
        intp (n,) places of the line feeds, and intp (n,) places of the marks, -1 in lines without one.
    """
    found = np.flatnonzero((text == ord("\n")) | (text == mark))
    kinds = text[found]
    if len(found) % 2 == 0 and (kinds[::2] == mark).all() and (kinds[1::2] == ord("\n")).all():
        return found[1::2], found[::2]
    ends = np.flatnonzero(kinds == ord("\n"))
    first = np.concatenate([np.zeros(1, np.intp), ends[:-1] + 1])[: len(ends)]
    return found[ends], np.where(kinds[first] == mark, found[first], -1)
