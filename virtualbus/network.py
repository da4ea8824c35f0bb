"""Values to frames, as the DBC says, many at once: signals become raw integers, integers bytes, bytes frames.

cantools reads the database; the bits are laid by NumPy, because a car with 198 cells sends 8,000 frames a second.
Counter and checksum of protected messages are added. ``tests/virtualbus`` holds every frame against cantools' own
encoding.

Standard: SAE J1850 CRC-8 (poly 0x1D, init 0xFF, final XOR 0xFF).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import cantools
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Broadcast", "Catalogue", "Frames", "Node", "crc8", "load_catalogue"]

COUNTER_VALUES: Final = 16
_POLYNOMIAL: Final = 0x1D
_MAX_PLANS: Final = 4096

Bytes = NDArray[np.uint8]


def _crc_table() -> Bytes:
    out = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value << 1 ^ _POLYNOMIAL) & 0xFF if value & 0x80 else value << 1
        out.append(value)
    return np.array(out, dtype=np.uint8)


_TABLE: Final = _crc_table()


def crc8(data: bytes) -> int:
    """CRC-8/SAE-J1850 of ``data``; 0x4B for ``b"123456789"``."""
    value = 0xFF
    for byte in data:
        value = int(_TABLE[value ^ byte])
    return value ^ 0xFF


@dataclass(frozen=True, slots=True)
class Node:
    """One ECU of the databases with its diagnostic addresses (0 = none).

    Args:
        station: its J1939 source address, 254 without any.
    """

    name: str
    request_id: int
    response_id: int
    station: int = 254


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the bits of one frame stand: one entry per (signal, byte) pair.

    Args:
        slots: which signal of the catalogue.
        at: byte of the frame.
        shift: how far the raw value is shifted right (negative: left) to bring its part into the byte.
        mask: the bits of the byte that belong to the signal.
    """

    slots: NDArray[np.intp]
    at: NDArray[np.intp]
    shift: NDArray[np.int64]
    mask: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One cyclic message.

    Args:
        index: its place in the catalogue.
        channel: which of the car's buses.
        groups: number of multiplexed groups, 1 without any.
        slots: signal name -> slot, without selector, counter and checksum.
        data_id: of a protected message, two bytes; None otherwise.
    """

    index: int
    name: str
    can_id: int
    extended: bool
    fd: bool
    sender: str
    cycle_ns: int
    length: int
    channel: int
    groups: int
    slots: dict[str, int]
    layouts: tuple[Layout, ...]
    data_id: bytes | None
    counter: tuple[int, int] | None
    selector: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of some ticks in the order of sending, columns.

    Args:
        tick: index into the ticks that were encoded, shape ``(n,)``.
        message: index into :attr:`Catalogue.messages`.
        length: bytes of each.
        data: shape ``(n, 8)`` or ``(n, 64)``, zero behind the length.
    """

    tick: NDArray[np.int64]
    message: NDArray[np.intp]
    length: NDArray[np.uint8]
    data: Bytes


@dataclass(frozen=True, slots=True)
class _Plan:
    """Index arrays for one set of (row, message, group) triples."""

    row: NDArray[np.int64]
    message: NDArray[np.intp]
    length: NDArray[np.uint8]
    base: Bytes
    piece_row: NDArray[np.intp]
    piece_slot: NDArray[np.intp]
    right: NDArray[np.int64]
    left: NDArray[np.int64]
    mask: NDArray[np.int64]
    starts: NDArray[np.intp]
    targets: NDArray[np.intp]
    protected: NDArray[np.intp]
    counter_at: NDArray[np.intp]
    counter_shift: NDArray[np.uint8]
    selector_at: NDArray[np.intp]
    selector: NDArray[np.uint8]
    checks: tuple[tuple[int, NDArray[np.intp], NDArray[np.uint8]], ...]


class Catalogue:
    """Nodes and messages of a car's buses; shared by all cars of the kind, holds no state of one.

    Attributes:
        messages: in the order of the databases.
        nodes: by name.
        size: number of signal slots.
        initial: "not available" for every slot.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.messages: list[Broadcast] = []
        self.nodes: dict[str, Node] = {}
        self.databases: list[Any] = []
        scale: list[float] = []
        offset: list[float] = []
        low: list[float] = []
        high: list[float] = []
        missing: list[int] = []
        bits: list[int] = []
        for channel, path in enumerate(paths):
            database: Any = cantools.database.load_file(path, strict=True)
            self.databases.append(database)
            for node in database.nodes:
                given = node.dbc.attributes
                request = given["DiagRequestId"].value if "DiagRequestId" in given else 0
                response = given["DiagResponseId"].value if "DiagResponseId" in given else 0
                station = given["NmStationAddress"].value if "NmStationAddress" in given else 254
                if node.name not in self.nodes or request:
                    self.nodes[node.name] = Node(node.name, request, response, station)
            for message in database.messages:
                if message.cycle_time:
                    self._add(message, channel, (scale, offset, low, high, missing, bits))
        self.size = len(scale)
        self._scale = np.array(scale)
        self._offset = np.array(offset)
        self._low = np.array(low)
        self._high = np.array(high)
        self._missing = np.array(missing, dtype=np.int64)
        self._all = (np.int64(1) << np.array(bits, dtype=np.int64)) - 1
        self.by_id = {(message.can_id, message.extended): message for message in self.messages}
        self.by_name = {message.name: message for message in self.messages}
        self.slots = {name: slot for message in self.messages for name, slot in message.slots.items()}
        self._plans: dict[Any, tuple[_Plan, Any]] = {}
        self._width = 64 if any(message.length > 8 for message in self.messages) else 8

    def _add(self, message: Any, channel: int, columns: tuple[list[Any], ...]) -> None:
        scale, offset, low, high, missing, bits = columns
        attributes = message.dbc.attributes
        number = attributes["E2EDataId"].value if "E2EDataId" in attributes else -1
        own = {f"{message.name}_Counter", f"{message.name}_Checksum"} if number >= 0 else set()
        selectors = [signal for signal in message.signals if signal.is_multiplexer]
        groups = 1 + max((max(s.multiplexer_ids) for s in message.signals if s.multiplexer_ids), default=0)
        slots: dict[str, int] = {}
        pieces: list[list[tuple[int, int, int, int]]] = [[] for _ in range(groups)]
        for signal in message.signals:
            if signal.is_multiplexer or signal.name in own:
                continue
            slot = slots[signal.name] = len(scale)
            scale.append(float(signal.scale))
            offset.append(float(signal.offset))
            low.append(-np.inf if signal.minimum is None else float(signal.minimum))
            high.append(np.inf if signal.maximum is None else float(signal.maximum))
            bits.append(signal.length)
            codes = [int(code) for code, text in (signal.choices or {}).items() if str(text) == "SNA"]
            missing.append(codes[0] if codes else -1)
            for group in signal.multiplexer_ids or range(groups):
                pieces[group] += [(slot, *piece) for piece in _pieces(signal)]
        self.messages.append(
            Broadcast(
                index=len(self.messages),
                name=message.name,
                can_id=message.frame_id,
                extended=bool(message.is_extended_frame),
                fd=bool(message.is_fd),
                sender=message.senders[0],
                cycle_ns=int(message.cycle_time) * 1_000_000,
                length=message.length,
                channel=channel,
                groups=groups,
                slots=slots,
                layouts=tuple(_layout(part) for part in pieces),
                data_id=number.to_bytes(2, "little") if number >= 0 else None,
                counter=_place(message.get_signal_by_name(f"{message.name}_Counter")) if number >= 0 else None,
                selector=_place(selectors[0]) if selectors else None,
            )
        )

    def raw_from_values(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Raw integers of all slots, shape as ``values``; NaN and what is out of range become "not available".

        A signal without such a code holds its nearest value.
        """
        wrong = ~((values >= self._low) & (values <= self._high))
        held = np.where(np.isnan(values), self._low, np.clip(values, self._low, self._high))
        raw = np.rint((held - self._offset) / self._scale).astype(np.int64)
        out: NDArray[np.int64] = np.where(wrong & (self._missing >= 0), self._missing, raw) & self._all
        return out

    def as_coded(self, values: NDArray[np.float64], slots: NDArray[np.intp]) -> NDArray[np.float64]:
        """Physical values as a reader of the frames gets them: rounded to the signals' steps.

        Args:
            values: shape (rows, signals), NaN where not available.
            slots: of the signals.
        """
        scale, offset = self._scale[slots], self._offset[slots]
        coded: NDArray[np.float64] = np.rint((values - offset) / scale) * scale + offset
        return coded

    def encode(
        self, values: NDArray[np.float64], due: tuple[tuple[int, int, int], ...], numbers: NDArray[np.int64]
    ) -> Frames:
        """Frames of several ticks.

        Args:
            values: physical values by slot, one row per tick, NaN = not available.
            due: (row, message, group) of each frame in the order of sending.
            numbers: how often each of these messages was sent before; gives the counters.
        """
        return self._encode(values, self._plan(due, lambda: due), numbers)

    def encode_block(
        self, values: NDArray[np.float64], due: tuple[tuple[tuple[int, int], ...], ...], numbers: NDArray[np.int64]
    ) -> Frames:
        """As :meth:`encode`, with the (message, group) pairs of each tick by themselves."""

        def triples() -> tuple[tuple[int, int, int], ...]:
            return tuple((row, message, group) for row, part in enumerate(due) for message, group in part)

        # The parts are the same objects in every round of the schedule: their identity is enough of a key.
        return self._encode(values, self._plan(tuple(map(id, due)), triples, keep=due), numbers)

    def _plan(self, key: Any, triples: Callable[[], tuple[tuple[int, int, int], ...]], keep: Any = None) -> _Plan:
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) > _MAX_PLANS:
                self._plans.clear()
            found = self._plans[key] = (self._make_plan(triples()), keep)
        return found[0]

    def _encode(self, values: NDArray[np.float64], plan: _Plan, numbers: NDArray[np.int64]) -> Frames:
        raw = self.raw_from_values(values)
        part = raw[plan.piece_row, plan.piece_slot]
        part >>= plan.right
        part <<= plan.left
        part &= plan.mask
        data = plan.base.copy()
        flat = data.reshape(-1)
        if len(plan.starts):
            flat[plan.targets] |= np.bitwise_or.reduceat(part, plan.starts).astype(np.uint8)
        flat[plan.selector_at] |= plan.selector
        if len(plan.protected):
            counters = (numbers[plan.protected] % COUNTER_VALUES).astype(np.uint8)
            flat[plan.counter_at] |= counters << plan.counter_shift
            for length, rows, start in plan.checks:
                value = start
                block = data[rows]
                for column in range(length - 1):
                    value = _TABLE[value ^ block[:, column]]
                data[rows, length - 1] = value ^ 0xFF
        return Frames(plan.row, plan.message, plan.length, data)

    def _make_plan(self, due: tuple[tuple[int, int, int], ...]) -> _Plan:
        rows, slots, shifts, masks, targets = [], [], [], [], []
        protected, counter_at, counter_shift = [], [], []
        selector_at, selectors = [], []
        checks: dict[int, tuple[list[int], list[int]]] = {}
        for number, (row, index, group) in enumerate(due):
            message = self.messages[index]
            layout = message.layouts[group]
            rows.append(np.full(len(layout.slots), row, dtype=np.intp))
            slots.append(layout.slots)
            shifts.append(layout.shift)
            masks.append(layout.mask)
            targets.append(number * self._width + layout.at)
            if message.selector is not None:
                selector_at.append(number * self._width + message.selector[0])
                selectors.append(group << message.selector[1])
            if message.data_id is not None and message.counter is not None:
                protected.append(number)
                counter_at.append(number * self._width + message.counter[0])
                counter_shift.append(message.counter[1])
                start = 0xFF
                for byte in message.data_id:
                    start = int(_TABLE[start ^ byte])
                members, starts = checks.setdefault(message.length, ([], []))
                members.append(number)
                starts.append(start)
        at = np.concatenate(targets) if targets else np.zeros(0, dtype=np.intp)
        order = np.argsort(at, kind="stable")
        at = at[order]
        first = np.flatnonzero(np.r_[True, at[1:] != at[:-1]]) if len(at) else np.zeros(0, dtype=np.intp)
        shift = (np.concatenate(shifts) if shifts else np.zeros(0, dtype=np.int64))[order]
        return _Plan(
            row=np.array([item[0] for item in due], dtype=np.int64),
            message=np.array([item[1] for item in due], dtype=np.intp),
            length=np.array([self.messages[item[1]].length for item in due], dtype=np.uint8),
            base=self._base(due),
            piece_row=(np.concatenate(rows) if rows else np.zeros(0, dtype=np.intp))[order],
            piece_slot=(np.concatenate(slots) if slots else np.zeros(0, dtype=np.intp))[order],
            right=np.maximum(shift, 0),
            left=np.maximum(-shift, 0),
            mask=(np.concatenate(masks) if masks else np.zeros(0, dtype=np.int64))[order],
            starts=first,
            targets=at[first],
            protected=np.array(protected, dtype=np.intp),
            counter_at=np.array(counter_at, dtype=np.intp),
            counter_shift=np.array(counter_shift, dtype=np.uint8),
            selector_at=np.array(selector_at, dtype=np.intp),
            selector=np.array(selectors, dtype=np.uint8),
            checks=tuple(
                (length, np.array(members, dtype=np.intp), np.array(starts, dtype=np.uint8))
                for length, (members, starts) in checks.items()
            ),
        )

    def _base(self, due: tuple[tuple[int, int, int], ...]) -> Bytes:
        """Frames before the signals: zero, or ones where a J1939 message (29 bits) has no signal."""
        out = np.zeros((len(due), self._width), dtype=np.uint8)
        for number, (_, index, group) in enumerate(due):
            message = self.messages[index]
            if message.extended:
                out[number, : message.length] = 0xFF
                if message.selector is not None:
                    out[number, message.selector[0]] = 0
                np.bitwise_and.at(out[number], message.layouts[group].at, ~message.layouts[group].mask.astype(np.uint8))
        return out


def _bit_places(signal: Any) -> list[tuple[int, int]]:
    """(byte, bit in the byte) of every bit of a signal, the least significant first."""
    if signal.byte_order == "little_endian":
        return [divmod(signal.start + bit, 8) for bit in range(signal.length)]
    # DBC gives the most significant bit; bits then run down a byte and on to the top of the next one.
    linear = 8 * (signal.start // 8) + 7 - signal.start % 8
    return [(n // 8, 7 - n % 8) for n in range(linear + signal.length - 1, linear - 1, -1)]


def _pieces(signal: Any) -> list[tuple[int, int, int]]:
    """(byte, shift, mask) for every byte that holds a part of the signal."""
    out: dict[int, tuple[int, int]] = {}
    for bit, (byte, place) in enumerate(_bit_places(signal)):
        shift, mask = out.get(byte, (bit - place, 0))
        out[byte] = (shift, mask | 1 << place)
    return [(byte, shift, mask) for byte, (shift, mask) in out.items()]


def _place(signal: Any) -> tuple[int, int]:
    """Byte and lowest bit of a signal that lies within one byte."""
    return _bit_places(signal)[0]


def _layout(pieces: list[tuple[int, int, int, int]]) -> Layout:
    columns = list(zip(*pieces, strict=True)) if pieces else [(), (), (), ()]
    return Layout(
        np.array(columns[0], dtype=np.intp),
        np.array(columns[1], dtype=np.intp),
        np.array(columns[2], dtype=np.int64),
        np.array(columns[3], dtype=np.int64),
    )


@lru_cache(maxsize=16)
def load_catalogue(paths: tuple[Path, ...]) -> Catalogue:
    """The catalogue of some databases, one per bus of the car; read once."""
    return Catalogue(paths)
