"""The columns of a recording's frames, in memory that is taken once and filled block by block.

Small tables joined at the end would need the memory twice, and most of the time for taking it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbc.table import CLASSIC_WIDTH, FD_WIDTH, FrameTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FrameColumns"]


class FrameColumns:
    """Room for ``n`` frames; every row has to be put once."""

    def __init__(self, n: int) -> None:
        self._t_ns = np.empty(n, np.int64)
        self._can_id = np.empty(n, np.uint32)
        self._flags = np.empty(n, np.uint8)
        self._channel = np.empty(n, np.uint8)
        self._length = np.empty(n, np.uint8)
        self._data = np.zeros((n, CLASSIC_WIDTH), np.uint8)

    def put(self, rows: slice | NDArray[np.intp], table: FrameTable) -> None:
        """Takes frames at some rows."""
        if table.width > self._data.shape[1]:
            wide = np.zeros((len(self._t_ns), FD_WIDTH), np.uint8)
            wide[:, :CLASSIC_WIDTH] = self._data
            self._data = wide
        self._t_ns[rows] = table.t_ns
        self._can_id[rows] = table.can_id
        self._flags[rows] = table.flags
        self._channel[rows] = table.channel
        self._length[rows] = table.length
        self._data[rows, : table.width] = table.data

    def table(self) -> FrameTable:
        """All frames."""
        return FrameTable(self._t_ns, self._can_id, self._flags, self._channel, self._length, self._data)
