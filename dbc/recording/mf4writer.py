"""Frames written as ASAM MDF 4.10 bus logging: sorted, one channel group for each kind of frame.

Standard: ASAM MDF 4.1 §4 (block structure) and its bus logging annex.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from dbc.recording.facts import Tally
    from dbc.table import FrameTable

__all__ = ["write_mf4"]

_ID: Final = struct.Struct("<8s8s8s4xH30xHH")
_HEADER: Final = struct.Struct("<4sIQQ")
_START: Final = struct.Struct("<QhhBBBBdd")
_HISTORY: Final = struct.Struct("<QhhB3x")
_GROUP: Final = struct.Struct("<QQHHIII")
_CHANNEL: Final = struct.Struct("<BBBBIIIIBBHdddddd")
_LINEAR: Final = struct.Struct("<BBHHHdddd")
_BUS_EVENT: Final = 0x02 | 0x04
_HEAD_BYTES: Final = 16
_BYTES_BY_CODE: Final = np.array([*range(9), 12, 16, 20, 24, 32, 48, 64])
_ROWS: Final = 1 << 18
_COMMENT: Final = (
    "<FHcomment><TX>frames of a recording</TX><tool_id>huizhen</tool_id><tool_vendor>huizhen</tool_vendor>"
    "<tool_version>1</tool_version></FHcomment>"
)
_PARTS: Final = (
    # name, byte, bit, bits
    ("BusChannel", 8, 0, 8),
    ("ID", 9, 0, 29),
    ("IDE", 13, 0, 1),
    ("EDL", 13, 1, 1),
    ("BRS", 13, 2, 1),
    ("ESI", 13, 3, 1),
    ("Dir", 13, 4, 1),
    ("DLC", 14, 0, 8),
    ("DataLength", 15, 0, 8),
)
_BITS: Final = ((EXTENDED, 0), (FD, 1), (BITRATE_SWITCH, 2), (ERROR_STATE, 3), (TX, 4))
_KINDS: Final = (
    ("CAN_DataFrame", 0),
    ("CAN_RemoteFrame", REMOTE),
    ("CAN_ErrorFrame", ERROR),
)


class _Blocks:
    """Blocks in the order in which they are written; a block's links lead to blocks written before it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def add(self, kind: str, links: Sequence[int], body: bytes) -> int:
        """Writes a block and gives its address."""
        at = self._out.tell()
        at += self._out.write(bytes(-at % 8))
        size = _HEADER.size + 8 * len(links) + len(body)
        self._out.write(_HEADER.pack(b"##" + kind.encode(), 0, size, len(links)))
        self._out.write(struct.pack(f"<{len(links)}Q", *links) + body)
        return at

    def text(self, text: str, kind: str = "TX") -> int:
        """Writes a text block."""
        body = text.encode() + b"\0"
        return self.add(kind, (), body + bytes(-len(body) % 8))

    def channel(self, name: str, links: tuple[int, int, int, int], shape: tuple[int, int, int, int, int, int]) -> int:
        """Writes a channel.

        Args:
            name: of the channel.
            links: next channel, composition, source, conversion.
            shape: kind, synchronisation, data type, byte, bit, bits.
        """
        following, inside, source, conversion = links
        kind, sync, form, byte, bit, bits = shape
        body = _CHANNEL.pack(kind, sync, form, bit, byte, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        return self.add("CN", (following, inside, self.text(name), source, conversion, 0, 0, 0), body)

    def group(self, name: str, cycles: int, width: int) -> int:
        """Writes a channel group of frames with its channels."""
        source = self.add("SI", (self.text("CAN"), self.text("CAN"), 0), struct.pack("<BBB5x", 2, 2, 0))
        linear = self.add("CC", (0, 0, 0, 0), _LINEAR.pack(1, 0, 0, 0, 2, 0, 0, 0, 1e-9))
        payload = (0, 0, 10, _HEAD_BYTES, 0, 8 * width)
        inner = self.channel(f"{name}.DataBytes", (0, 0, source, 0), payload) if width else 0
        for part, byte, bit, bits in reversed(_PARTS):
            inner = self.channel(f"{name}.{part}", (inner, 0, source, 0), (0, 0, 0, byte, bit, bits))
        whole = (0, 0, 10, 8, 0, 8 * (_HEAD_BYTES - 8 + width))
        frame = self.channel(name, (0, inner, source, 0), whole)
        time = self.channel("Timestamp", (frame, 0, source, linear), (2, 1, 0, 0, 0, 64))
        body = _GROUP.pack(0, cycles, _BUS_EVENT, ord("."), 0, _HEAD_BYTES + width, 0)
        return self.add("CG", (0, time, self.text("CAN"), source, 0, 0), body)


def _write_records(out: BinaryIO, table: FrameTable, width: int, shift_ns: int) -> None:
    for at in range(0, len(table), _ROWS):
        part = table[at : at + _ROWS]
        records = np.zeros((len(part), _HEAD_BYTES + width), np.uint8)
        times = (part.t_ns + shift_ns).astype("<u8")
        records[:, :8] = times.view(np.uint8).reshape(-1, 8)
        records[:, 8] = part.channel
        records[:, 9:13] = part.can_id.astype("<u4").view(np.uint8).reshape(-1, 4)
        for flag, bit in _BITS:
            records[:, 13] |= ((part.flags & flag) != 0).astype(np.uint8) << np.uint8(bit)
        records[:, 14] = np.searchsorted(_BYTES_BY_CODE, part.length)
        records[:, 15] = part.length
        if width:
            used = min(width, part.width)
            records[:, 16 : 16 + used] = part.data[:, :used]
        out.write(records.tobytes())


def write_mf4(
    out: BinaryIO, pieces: Callable[[], Iterable[FrameTable]], tally: Tally, shift_ns: int, start_ns: int
) -> None:
    """Writes a whole file.

    Args:
        out: to write to; must seek.
        pieces: gives the frames, oldest first; called once for each kind of frames.
        tally: of all of them.
        shift_ns: what to add to the frames' times, after which none is negative.
        start_ns: UTC of time 0, 0 where it is not known.
    """
    blocks = _Blocks(out)
    out.write(_ID.pack(b"MDF     ", b"4.10    ", b"huizhen ", 410, 0, 0))
    header = blocks.add("HD", (0,) * 6, _START.pack(start_ns, 0, 0, 0, 0, 0, 0, 0, 0))
    history = blocks.add("FH", (0, blocks.text(_COMMENT, "MD")), _HISTORY.pack(start_ns, 0, 0, 0))
    data_groups: list[int] = []
    for (name, flag), count in zip(_KINDS, tally.kinds, strict=True):
        if not count and (flag or tally.frames):
            continue
        width = 0 if flag == REMOTE else tally.width
        group = blocks.group(name, count, width)
        data = out.tell()
        data += out.write(bytes(-data % 8))
        size = _HEADER.size + count * (_HEAD_BYTES + width)
        out.write(_HEADER.pack(b"##DT", 0, size, 0))
        for piece in pieces() if count else []:
            _write_records(out, piece[_kind_of(piece) == flag], width, shift_ns)
        data_groups.append(blocks.add("DG", (0, group, data, 0), bytes(8)))
    for before, after in itertools.pairwise(data_groups):
        out.seek(before + _HEADER.size)
        out.write(struct.pack("<Q", after))
    out.seek(header + _HEADER.size)
    out.write(struct.pack("<QQ", data_groups[0], history))


def _kind_of(table: FrameTable) -> NDArray[np.uint8]:
    """uint8 (n,): 0, REMOTE or ERROR; an error frame is no remote request."""
    kind: NDArray[np.uint8] = table.flags & np.uint8(REMOTE | ERROR)
    return np.where(kind & np.uint8(ERROR), np.uint8(ERROR), kind)
