"""What the ECUs tell everybody: broadcast frames collected, matched to a database, decoded to series.

A gateway often hides these frames from the diagnostic plug; that is said, not taken for a silent car.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import dbc
from dbc.table import ERROR, EXTENDED, FD, REMOTE, TX, FrameRow, FrameTable
from diag.facts import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dbc.database import Database
    from diag.canbus import Frame

__all__ = ["Broadcast", "find_database", "is_diagnostic_id", "load_bundled", "table_from_frames"]

_FIT_NEEDED: Final = 0.8


def is_diagnostic_id(can_id: int, *, extended: bool) -> bool:
    """Whether an identifier belongs to diagnostics and not to broadcast.

    Standard: ISO 15765-4:2021 §10.3: 0x7DF, 0x7E0 to 0x7EF, 0x18DAxxxx and 0x18DBxxxx.
    """
    if extended:
        return can_id >> 16 in {0x18DA, 0x18DB, 0x18CD, 0x18CE}
    return can_id == 0x7DF or 0x7E0 <= can_id <= 0x7EF


def table_from_frames(frames: Iterable[Frame]) -> FrameTable:
    """Frames of a link in columns."""
    return FrameTable.from_rows(
        FrameRow(
            frame.t_ns,
            frame.can_id,
            frame.data,
            (EXTENDED if frame.extended else 0)
            | (FD if frame.fd else 0)
            | (REMOTE if frame.remote else 0)
            | (ERROR if frame.error else 0)
            | (TX if frame.tx else 0),
        )
        for frame in frames
    )


def load_bundled() -> tuple[Database, ...]:
    """The databases that come with Huizhen."""
    from dbc.files import bundled

    return tuple(dbc.load(path) for path in bundled())


def find_database(frames: Sequence[Frame], databases: Sequence[Database]) -> Database | None:
    """The database that fits what is on the bus, or None.

    An identifier alone proves nothing: identifier, length and — where the database names them — checksum must be
    right for at least 80 % of the frames that the database could know, and for at least two messages.
    """
    table = table_from_frames(frame for frame in frames if not (frame.error or frame.remote))
    best: tuple[float, Database] | None = None
    for database in databases:
        score = _fit(table, database)
        if score >= _FIT_NEEDED and (best is None or score > best[0]):
            best = (score, database)
    return best[1] if best else None


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What one stretch of listening gave.

    Args:
        frames: how many broadcast frames arrived.
        database: what they were decoded with; None when none fits.
        series: signal name -> series, over all decoded messages.
        silent_nodes: names of the database's nodes that sent nothing although others did.
    """

    frames: int
    database: Database | None
    series: Mapping[str, Series]
    silent_nodes: tuple[str, ...] = ()
