"""CAN frames in columns: what readers make and decoders take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbc.errors import BadTable, Phrase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = [
    "BITRATE_SWITCH",
    "CLASSIC_WIDTH",
    "ERROR",
    "ERROR_STATE",
    "EXTENDED",
    "FD",
    "FD_WIDTH",
    "NO_MESSAGE",
    "REMOTE",
    "TX",
    "FrameRow",
    "FrameTable",
    "pgn_from_id",
]

EXTENDED: Final = 0x01
"""Flag: an identifier of 29 bits."""
FD: Final = 0x02
"""Flag: a CAN FD frame."""
BITRATE_SWITCH: Final = 0x04
"""Flag: CAN FD with the faster data phase."""
ERROR_STATE: Final = 0x08
"""Flag: the sender was error passive (ESI)."""
REMOTE: Final = 0x10
"""Flag: a remote request; its length is what it asks for and it has no data."""
ERROR: Final = 0x20
"""Flag: an error frame of the controller, no message of the bus."""
TX: Final = 0x40
"""Flag: sent by the recorder itself."""

NO_MESSAGE: Final = REMOTE | ERROR
"""Frames with any of these flags carry no data of a message."""

CLASSIC_WIDTH: Final = 8
FD_WIDTH: Final = 64

_MAX_ID: Final = 0x1FFF_FFFF
_DTYPES: Final = (
    ("t_ns", np.int64),
    ("can_id", np.uint32),
    ("flags", np.uint8),
    ("channel", np.uint8),
    ("length", np.uint8),
)


def pgn_from_id(can_id: int) -> int:
    """The parameter group number of a 29-bit identifier; the destination of a PDU1 is no part of it.

    Standard: SAE J1939-21 §5.2 and §5.3.
    """
    pgn = can_id >> 8 & 0x3FFFF
    return pgn if pgn >> 8 & 0xFF >= 0xF0 else pgn & 0x3FF00


class FrameRow(NamedTuple):
    """One frame as a row.

    Args:
        t_ns: time in ns since whatever the recording counts from.
        can_id: identifier without any flag bit.
        data: the payload, 0–64 bytes; empty for a remote request.
        flags: :data:`EXTENDED`, :data:`FD`, … or-ed together.
        channel: index of the bus.
        requested: the length that a remote request asks for.
    """

    t_ns: int
    can_id: int
    data: bytes
    flags: int = 0
    channel: int = 0
    requested: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class FrameTable:
    """Frames in the order in which they were recorded, one array per field, all of the same length ``n``.

    Args:
        t_ns: int64 (n,), nanoseconds since whatever the recording counts from.
        can_id: uint32 (n,), identifiers without flag bits.
        flags: uint8 (n,), :data:`EXTENDED`, :data:`FD`, … or-ed together.
        channel: uint8 (n,), index of the bus.
        length: uint8 (n,), bytes of payload; for a remote request the length it asks for.
        data: uint8 (n, 8) or (n, 64), payloads filled up with zeros.

    Raises:
        BadTable: the arrays do not fit each other.
    """

    t_ns: NDArray[np.int64]
    can_id: NDArray[np.uint32]
    flags: NDArray[np.uint8]
    channel: NDArray[np.uint8]
    length: NDArray[np.uint8]
    data: NDArray[np.uint8]

    def __post_init__(self) -> None:
        n = len(self.t_ns)
        for name, dtype in _DTYPES:
            column: NDArray[np.generic] = getattr(self, name)
            if column.shape != (n,) or column.dtype != dtype:
                raise BadTable(
                    Phrase(
                        f"{name} is {column.dtype} {column.shape}, not {np.dtype(dtype)} ({n},)",
                        f"{name} 为 {column.dtype} {column.shape}，应为 {np.dtype(dtype)} ({n},)",
                    )
                )
        if self.data.dtype != np.uint8 or self.data.shape not in {(n, CLASSIC_WIDTH), (n, FD_WIDTH)}:
            shape = f"{self.data.dtype} {self.data.shape}"
            raise BadTable(
                Phrase(f"data is {shape}, not uint8 ({n}, 8 or 64)", f"data 为 {shape}，应为 uint8（{n}，8 或 64）")
            )
        if n and (int(self.can_id.max()) > _MAX_ID or int(self.length.max()) > self.data.shape[1]):
            raise BadTable(Phrase("an identifier or a length is too large", "标识符或长度超出范围"))

    def __len__(self) -> int:
        return len(self.t_ns)

    def __getitem__(self, rows: slice | NDArray[np.bool_] | NDArray[np.intp]) -> FrameTable:
        """The frames of a slice, a mask or a list of row numbers."""
        return FrameTable(
            self.t_ns[rows],
            self.can_id[rows],
            self.flags[rows],
            self.channel[rows],
            self.length[rows],
            self.data[rows],
        )

    @property
    def width(self) -> int:
        """Bytes per payload in :attr:`data`: 8, or 64 where there may be CAN FD."""
        return int(self.data.shape[1])

    @property
    def is_sorted(self) -> bool:
        """Whether no frame is older than the one before it."""
        return bool((self.t_ns[1:] >= self.t_ns[:-1]).all())

    @property
    def key(self) -> NDArray[np.uint32]:
        """uint32 (n,): the identifier with bit 31 for 29-bit ones, so that 0x123 and 0x00000123 differ."""
        return self.can_id | (self.flags & np.uint8(EXTENDED)).astype(np.uint32) << np.uint32(31)

    def by_time(self) -> FrameTable:
        """The same frames, oldest first; those of one moment keep their order."""
        return self if self.is_sorted else self[np.argsort(self.t_ns, kind="stable")]

    def widened(self) -> FrameTable:
        """The same frames with 64 bytes per payload."""
        if self.width == FD_WIDTH:
            return self
        data = np.zeros((len(self), FD_WIDTH), np.uint8)
        data[:, :CLASSIC_WIDTH] = self.data
        return replace(self, data=data)

    def rows(self) -> Iterator[FrameRow]:
        """The frames one by one."""
        for t_ns, can_id, flags, channel, length, data in zip(
            self.t_ns.tolist(),
            self.can_id.tolist(),
            self.flags.tolist(),
            self.channel.tolist(),
            self.length.tolist(),
            self.data,
            strict=True,
        ):
            if flags & REMOTE:
                yield FrameRow(t_ns, can_id, b"", flags, channel, length)
            else:
                yield FrameRow(t_ns, can_id, data[:length].tobytes(), flags, channel)

    @classmethod
    def empty(cls, *, width: int = CLASSIC_WIDTH) -> FrameTable:
        """No frames at all."""
        return cls(
            np.empty(0, np.int64),
            np.empty(0, np.uint32),
            np.empty(0, np.uint8),
            np.empty(0, np.uint8),
            np.empty(0, np.uint8),
            np.empty((0, width), np.uint8),
        )

    @classmethod
    def from_rows(cls, rows: Iterable[FrameRow]) -> FrameTable:
        """Frames from rows; 64 bytes wide when one of them needs it.

        Raises:
            BadTable: an identifier above 29 bits or a payload above 64 bytes.
        """
        listed = list(rows)
        n = len(listed)
        longest = max((len(row.data) for row in listed), default=0)
        width = CLASSIC_WIDTH if longest <= CLASSIC_WIDTH else FD_WIDTH
        if longest > FD_WIDTH or any(not 0 <= row.can_id <= _MAX_ID for row in listed):
            raise BadTable(Phrase("an identifier or a length is too large", "标识符或长度超出范围"))
        joined = b"".join(row.data.ljust(width, b"\0") for row in listed)
        return cls(
            np.fromiter((row.t_ns for row in listed), np.int64, n),
            np.fromiter((row.can_id for row in listed), np.uint32, n),
            np.fromiter((row.flags for row in listed), np.uint8, n),
            np.fromiter((row.channel for row in listed), np.uint8, n),
            np.fromiter((row.requested if row.flags & REMOTE else len(row.data) for row in listed), np.uint8, n),
            np.frombuffer(joined, np.uint8).reshape(n, width),
        )

    @classmethod
    def concat(cls, tables: Sequence[FrameTable]) -> FrameTable:
        """All frames of several tables, one table after the other."""
        if not tables:
            return cls.empty()
        if len(tables) == 1:
            return tables[0]
        if any(table.width == FD_WIDTH for table in tables):
            tables = [table.widened() for table in tables]
        columns = ("t_ns", "can_id", "flags", "channel", "length", "data")
        return cls(*(np.concatenate([getattr(table, name) for table in tables]) for name in columns))
