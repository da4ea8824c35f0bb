"""What the time stamps of a recording do: start again from zero, jump back, mean milliseconds.

A counter that starts again at its width (16 bits of milliseconds, 32 bits of microseconds, midnight) is carried on; a
jump back that no counter explains means that another capture was glued behind the first, and starts a new segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.table import EXTENDED, FD, FrameTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["carried_on", "means_milliseconds", "segment_starts"]

_BACK_NS: Final = 1_000_000_000
"""Frames of several buses may be out of order by less than this."""
_WRAP_WINDOW: Final = 0.02
"""A counter's step over its end may be this part of its width."""
_FEW: Final = 20
_BITS: Final = 47
_BITS_EXTENDED: Final = 67
"""Bits of a frame without data and without stuff bits, with the pause behind it.

Standard: ISO 11898-1:2015 §10.4."""


def _steps_back(t_ns: NDArray[np.int64]) -> NDArray[np.intp]:
    return np.flatnonzero(np.diff(t_ns) < -_BACK_NS)


def carried_on(t_ns: NDArray[np.int64], moduli_ns: Sequence[int]) -> tuple[NDArray[np.int64], int]:
    """int64 (n,): the times with counters that started again carried on, and how often they did."""
    wraps = 0
    lift = np.zeros(len(t_ns), np.int64)
    if moduli_ns:
        for at in _steps_back(t_ns).tolist():
            before, after = int(t_ns[at]), int(t_ns[at + 1])
            for modulus in moduli_ns:
                gap = after + modulus - before
                low = 0 if after >= 0 else -(modulus // 2)
                inside = low <= after and before <= low + modulus
                if inside and 0 <= gap <= _WRAP_WINDOW * modulus:
                    lift[at + 1] = modulus
                    wraps += 1
                    break
    return (t_ns + np.cumsum(lift), wraps) if wraps else (t_ns, 0)


def segment_starts(t_ns: NDArray[np.int64]) -> list[int]:
    """Rows at which the time jumps back by a second or more."""
    return [int(row) + 1 for row in _steps_back(t_ns)]


def means_milliseconds(table: FrameTable) -> bool:
    """Whether stamps that were taken for µs must be ms, because the buses could not carry so many bits.

    Physics decides: a classic CAN bus carries at most a bit per µs.
    """
    if len(table) < _FEW or bool((table.flags & FD).any()):
        return False
    steps = np.diff(table.t_ns)
    span_us = int(steps[steps > 0].sum()) / 1000
    extended = (table.flags & EXTENDED) != 0
    bits = int((np.where(extended, _BITS_EXTENDED, _BITS) + 8 * table.length.astype(np.int64))[1:].sum())
    buses = len(np.unique(table.channel))
    return span_us > 0 and bits > span_us * buses
