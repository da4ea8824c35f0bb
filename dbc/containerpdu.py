"""Container PDUs of AUTOSAR: one frame that carries several messages, each behind a header with its number and length.

The short header has 32 bits: a number of 24 bits in the container's byte order, and a length of 8 bits. A number of 0
fills the rest of the frame. A part that is longer than what is left of the frame gives what is there.

Standard: AUTOSAR Classic Platform SWS I-PDU Multiplexer, container I-PDUs (unverified clause).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbc.bits import Payloads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["HEADER_BYTES", "ContainedRows", "Part", "contained_rows", "parts"]

HEADER_BYTES: Final = 4
_NUMBER_BYTES: Final = 3


class Part(NamedTuple):
    """One message inside a container.

    Args:
        number: of its header.
        data: its bytes, fewer than the header says where the frame ends before.
        missing: how many the frame lacks.
    """

    number: int
    data: bytes
    missing: int


def parts(data: bytes, *, little: bool) -> Iterator[Part]:
    """The messages in one container, in order."""
    at = 0
    while at + HEADER_BYTES <= len(data):
        number = int.from_bytes(data[at : at + _NUMBER_BYTES], "little" if little else "big")
        size = data[at + _NUMBER_BYTES]
        if not number:
            return
        at += HEADER_BYTES
        inside = data[at : at + size]
        yield Part(number, inside, size - len(inside))
        at += size


@dataclass(frozen=True, slots=True, eq=False)
class ContainedRows:
    """All parts of one number in many containers.

    Args:
        rows: intp (m,), the container that each came in; one container may hold several.
        payloads: their bytes.
    """

    rows: NDArray[np.intp]
    payloads: Payloads


def contained_rows(containers: Payloads, *, little: bool) -> Mapping[int, ContainedRows]:
    """The parts of many containers by their number, each number's in the order of the containers."""
    data = containers.data
    length = containers.length.astype(np.intp)
    rows = np.flatnonzero(length >= HEADER_BYTES)
    at = np.zeros(len(rows), np.intp)
    found: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]] = []
    while len(rows):
        head = data[rows[:, None], at[:, None] + np.arange(HEADER_BYTES)].astype(np.intp)
        low, middle, high = (0, 1, 2) if little else (2, 1, 0)
        number = head[:, low] | head[:, middle] << 8 | head[:, high] << 16
        used = number != 0
        rows, number, begin, size = rows[used], number[used], at[used] + HEADER_BYTES, head[used, _NUMBER_BYTES]
        found.append((number, rows, begin, np.minimum(size, length[rows] - begin)))
        at = begin + size
        more = at + HEADER_BYTES <= length[rows]
        rows, at = rows[more], at[more]
    if not found:
        return {}
    numbers, owners, begins, sizes = (np.concatenate([step[k] for step in found]) for k in range(4))
    order = np.lexsort((begins, owners, numbers))
    numbers, owners, begins, sizes = numbers[order], owners[order], begins[order], sizes[order]
    borders = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)] if len(numbers) else []
    out: dict[int, ContainedRows] = {}
    for first, last in pairwise(borders):
        part = slice(first, last)
        out[int(numbers[first])] = ContainedRows(owners[part], _gathered(data, owners[part], begins[part], sizes[part]))
    return out


def _gathered(
    data: NDArray[np.uint8], rows: NDArray[np.intp], begins: NDArray[np.intp], sizes: NDArray[np.intp]
) -> Payloads:
    """Stretches of some rows as payloads of their own, filled up with zeros."""
    places = np.arange(int(sizes.max()))
    inside = places < sizes[:, None]
    columns = np.minimum(begins[:, None] + places, data.shape[1] - 1)
    return Payloads(np.where(inside, data[rows[:, None], columns], np.uint8(0)), sizes)
