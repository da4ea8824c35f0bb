"""Parameter groups longer than a frame, put together again from a recording by one who only listens.

J1939 sends them announced to all (BAM) or to one node by agreement (RTS/CTS); both are followed by numbered packets.
Nothing is sent and no time is kept but that of the frames. A group whose packets were lost comes out as far as it
goes, with the number of missing bytes; packets that belong to nothing are counted.

Standard: SAE J1939-21 (transport protocol functions), clause unverified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.reassembly import Ending
from dbc.table import EXTENDED, FD, NO_MESSAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbc.table import FrameRow, FrameTable

__all__ = [
    "GLOBAL_ADDRESS",
    "PAUSE_NS",
    "TRANSPORT_FORMATS",
    "Group",
    "GroupReassembler",
    "GroupReassembly",
    "announced_groups",
    "reassemble_groups",
    "transport_rows",
]

GLOBAL_ADDRESS: Final = 0xFF
"""The destination that means every node."""

PAUSE_NS: Final = 2_000_000_000
"""Silence after which a group counts as broken off: T2 and T3 are 1.25 s; stamps of whole seconds can make it 2."""

_CONTROL_FORMAT: Final = 0xEC
_DATA_FORMAT: Final = 0xEB
TRANSPORT_FORMATS: Final = frozenset({_CONTROL_FORMAT, _DATA_FORMAT})
"""Data page and PDU format (bits 16 to 25 of the identifier) of the frames that carry the protocol."""

_RTS, _CTS, _END, _BAM, _ABORT = 0x10, 0x11, 0x13, 0x20, 0xFF
_PACKET: Final = 7
_SHORTEST, _LONGEST = 9, 1785
_FRAME: Final = 8
_MOST_OPEN: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Group:
    """One parameter group as far as it was recorded.

    Args:
        t_ns: time of its announcement.
        end_ns: time of its last recorded packet.
        pgn: the parameter group's number.
        source: address of the sender.
        destination: address it went to, :data:`GLOBAL_ADDRESS` for all.
        priority: of the frames that carried it.
        data: the bytes that are there, without gaps from the first one on.
        missing: bytes announced and not there.
        frames: CAN frames that it came in, announcement included.
    """

    t_ns: int
    end_ns: int
    pgn: int
    source: int
    destination: int
    priority: int
    channel: int
    data: bytes
    missing: int
    frames: int
    ending: Ending = Ending.COMPLETE

    @property
    def complete(self) -> bool:
        """Whether all announced bytes are there."""
        return self.missing == 0

    @property
    def can_id(self) -> int:
        """The identifier that a single frame of this group from this sender would have."""
        low = self.pgn if self.pgn >> 8 & 0xFF >= 0xF0 else self.pgn | self.destination
        return self.priority << 26 | low << 8 | self.source


@dataclass(frozen=True, slots=True)
class GroupReassembly:
    """What a recording holds in transported parameter groups.

    Args:
        groups: in the order of their announcements.
        stray: packets that no announcement explains.
        rejected: control frames that contradict themselves or the standard.
        repeated: packets that came twice.
    """

    groups: tuple[Group, ...]
    stray: int = 0
    rejected: int = 0
    repeated: int = 0


class _Open:
    """A group that has been announced."""

    __slots__ = ("end_ns", "frames", "next", "packets", "pgn", "priority", "size", "stored", "t_ns")

    def __init__(self, t_ns: int, pgn: int, priority: int, size: int, packets: int) -> None:
        self.t_ns = self.end_ns = t_ns
        self.pgn = pgn
        self.priority = priority
        self.size = size
        self.packets = packets
        self.next = 1
        self.frames = 1
        self.stored: dict[int, bytes] = {}

    def data(self) -> bytes:
        """The bytes up to the first gap."""
        parts: list[bytes] = []
        while (part := self.stored.get(len(parts) + 1)) is not None:
            parts.append(part)
        return b"".join(parts)[: self.size]


class GroupReassembler:
    """Takes the transport frames of one bus and gives parameter groups; sessions are told apart by both addresses.

    Args:
        channel: index of the bus.
        pause_ns: silence after which a group counts as broken off.
    """

    def __init__(self, channel: int = 0, *, pause_ns: int = PAUSE_NS) -> None:
        self.channel = channel
        self.pause_ns = pause_ns
        self.stray = 0
        self.rejected = 0
        self.repeated = 0
        self._open: dict[tuple[int, int], _Open] = {}

    def _close(self, pair: tuple[int, int], ending: Ending) -> list[Group]:
        begun = self._open.pop(pair, None)
        if begun is None:
            return []
        data = begun.data()
        missing = begun.size - len(data)
        source, destination = pair
        return [
            Group(
                begun.t_ns,
                begun.end_ns,
                begun.pgn,
                source,
                destination,
                begun.priority,
                self.channel,
                data,
                missing,
                begun.frames,
                ending if missing else Ending.COMPLETE,
            )
        ]

    def feed(self, t_ns: int, can_id: int, data: bytes) -> list[Group]:
        """Takes one frame of 29 bits; returns what it ended. Frames of other parameter groups do nothing."""
        form = can_id >> 16 & 0x3FF
        if form == _DATA_FORMAT:
            return self._packet(t_ns, can_id, data)
        if form == _CONTROL_FORMAT:
            return self._control(t_ns, can_id, data)
        return []

    def _control(self, t_ns: int, can_id: int, data: bytes) -> list[Group]:
        source, destination = can_id & 0xFF, can_id >> 8 & 0xFF
        if len(data) < _FRAME:
            self.rejected += 1
            return []
        control, pgn = data[0], int.from_bytes(data[5:8], "little")
        if control in {_RTS, _BAM}:
            size, packets = int.from_bytes(data[1:3], "little"), data[3]
            to_all = destination == GLOBAL_ADDRESS
            if (
                not _SHORTEST <= size <= _LONGEST
                or packets != -(-size // _PACKET)
                or to_all != (control == _BAM)
                or pgn >= 1 << 18
            ):
                self.rejected += 1
                return []
            out = self._close((source, destination), Ending.ABORTED)
            if len(self._open) < _MOST_OPEN:
                self._open[source, destination] = _Open(t_ns, pgn, can_id >> 26 & 7, size, packets)
            return out
        if control == _ABORT:
            # Either side may give up; the group's number says which session is meant.
            for pair in ((source, destination), (destination, source)):
                begun = self._open.get(pair)
                if begun is not None and begun.pgn == pgn:
                    return self._close(pair, Ending.ABORTED)
            return []
        if control == _CTS:
            begun = self._open.get((destination, source))
            if begun is not None and begun.pgn == pgn:
                begun.end_ns = max(begun.end_ns, t_ns)
                if data[1] and 1 <= data[2] <= begun.packets:
                    begun.next = data[2]
            return []
        if control == _END:
            begun = self._open.get((destination, source))
            return self._close((destination, source), Ending.SEQUENCE) if begun and begun.pgn == pgn else []
        self.rejected += 1
        return []

    def _packet(self, t_ns: int, can_id: int, data: bytes) -> list[Group]:
        pair = (can_id & 0xFF, can_id >> 8 & 0xFF)
        begun = self._open.get(pair)
        if begun is None:
            self.stray += 1
            return []
        if not 0 <= t_ns - begun.end_ns <= self.pause_ns:
            self.stray += 1
            return self._close(pair, Ending.PAUSE)
        number = data[0] if data else 0
        last = number == begun.packets
        needed = begun.size - _PACKET * (begun.packets - 1) if last else _PACKET
        if not 1 <= number <= begun.packets or len(data) < 1 + needed:
            self.rejected += 1
            return self._close(pair, Ending.SEQUENCE)
        if number in begun.stored:
            self.repeated += 1
        elif number != begun.next and pair[1] == GLOBAL_ADDRESS:
            # Nobody can ask for the lost packet again.
            self.stray += 1
            return self._close(pair, Ending.SEQUENCE)
        begun.stored[number] = data[1 : 1 + _PACKET]
        begun.next = number + 1
        begun.end_ns = t_ns
        begun.frames += 1
        return self._close(pair, Ending.COMPLETE) if len(begun.stored) == begun.packets else []

    def finish(self) -> list[Group]:
        """What is left when no more frames come."""
        return [group for pair in list(self._open) for group in self._close(pair, Ending.CUT)]


def transport_rows(table: FrameTable) -> NDArray[np.intp]:
    """intp (n,): the frames that carry the transport protocol."""
    form = table.can_id >> np.uint32(16) & np.uint32(0x3FF)
    wanted = (form == _CONTROL_FORMAT) | (form == _DATA_FORMAT)
    return np.flatnonzero(wanted & ((table.flags & np.uint8(EXTENDED | FD | NO_MESSAGE)) == EXTENDED))


def announced_groups(table: FrameTable) -> NDArray[np.uint32]:
    """uint32 (m,): the numbers of the parameter groups that frames of the transport protocol speak of."""
    control = (table.can_id >> np.uint32(16) & np.uint32(0x3FF)) == _CONTROL_FORMAT
    number = table.data[control, _FRAME - 3 : _FRAME].astype(np.uint32)
    return np.unique(number[:, 0] | number[:, 1] << np.uint32(8) | number[:, 2] << np.uint32(16))


def reassemble_groups(table: FrameTable, *, pause_ns: int = PAUSE_NS) -> GroupReassembly:
    """Puts the parameter groups of a recording together, each bus by itself.

    Args:
        table: frames in the order in which they were on the bus; those that carry no transport are passed over.
        pause_ns: silence after which a group counts as broken off.
    """
    listeners: dict[int, GroupReassembler] = {}
    groups: list[Group] = []
    row: FrameRow
    for row in table[transport_rows(table)].rows():
        listener = listeners.get(row.channel)
        if listener is None:
            listener = listeners[row.channel] = GroupReassembler(row.channel, pause_ns=pause_ns)
        groups += listener.feed(row.t_ns, row.can_id, row.data)
    for listener in listeners.values():
        groups += listener.finish()
    groups.sort(key=lambda group: group.t_ns)
    return GroupReassembly(
        tuple(groups),
        sum(listener.stray for listener in listeners.values()),
        sum(listener.rejected for listener in listeners.values()),
        sum(listener.repeated for listener in listeners.values()),
    )
