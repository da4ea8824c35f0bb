"""Columns of frames to columns of physical values.

Identifiers are matched to messages once per identifier, frames are grouped by message with one radix sort, and each
signal is read for all its frames at once. The result says for every signal when it was there, what its value was and
whether the sender gave one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.bits import Arena, Payloads, read_values
from dbc.columns import Decoded, MessageColumns, Samples, SignalColumn, Source, Times
from dbc.containerpdu import contained_rows
from dbc.j1939tp import TRANSPORT_FORMATS, announced_groups, reassemble_groups, transport_rows
from dbc.reassembly import reassemble
from dbc.table import CLASSIC_WIDTH, EXTENDED, FD, NO_MESSAGE, FrameTable, pgn_from_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from dbc.database import Database
    from dbc.j1939tp import Group
    from dbc.reassembly import Payload
    from dbc.signals import Condition, Message, Signal

__all__ = ["Decoded", "MessageColumns", "SignalColumn", "Source", "decode_table"]


_STANDARD_IDS: Final = 2048
_SLOT_BITS: Final = 16
_SORTED_SELECTOR: Final = 16
_VALID: Final = np.array(1, np.bool_)
_MULTIPLIERS: Final = (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F)


@dataclass(frozen=True, slots=True)
class _Match:
    """A message that occurs, under the name that the result gives it."""

    message: Message
    name: str
    position: tuple[int, int]
    database: str


def _slots(keys: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint32] | None]:
    """A number below 65,536 for each key, different for different keys.

    Returns:
        the numbers (n,), the ones in use, and the keys by number (None: each is its own key).
    """
    if not len(keys) or int(keys.max()) < _STANDARD_IDS:
        places = keys.astype(np.intp)  # once here, not again in each look-up
        used = np.zeros(_STANDARD_IDS, np.bool_)
        used[places] = True
        return places, np.flatnonzero(used), None
    for multiplier in _MULTIPLIERS:
        slots = ((keys * np.uint32(multiplier)) >> np.uint32(32 - _SLOT_BITS)).astype(np.intp)
        owner = np.full(1 << _SLOT_BITS, 0xFFFF_FFFF, np.uint32)
        owner[slots] = keys
        if (owner[slots] == keys).all():
            return slots, np.flatnonzero(owner != np.uint32(0xFFFF_FFFF)), owner
    unique, inverse = np.unique(keys, return_inverse=True)
    return inverse.astype(np.intp), np.arange(len(unique)), unique


def _find(
    databases: Sequence[Database], places: Sequence[Mapping[int, int]], key: int
) -> tuple[Message, tuple[int, int]] | None:
    """The message of a key in the first database that knows it, with its place."""
    for number, database in enumerate(databases):
        message = database.find_message(key & 0x1FFF_FFFF, extended=bool(key >> 31))
        if message is not None:
            return message, (number, places[number][id(message)])
    return None


def _name(databases: Sequence[Database], number: int, message: Message) -> str:
    """The name of a message in the result, the same whichever other messages occur."""
    name, database = message.name, databases[number]
    if database.by_name[name] is message:
        return f"{name}@{database.name}" if any(name in other.by_name for other in databases[:number]) else name
    same = [other for other in database.messages if other.name == name]
    place = next(at for at, other in enumerate(same) if other is message)
    return f"{name}@{database.name}_{place + 1}"


class _Matches:
    """Which message each identifier of a table belongs to."""

    def __init__(self, keys: NDArray[np.uint32], databases: Sequence[Database]) -> None:
        slots, used, owner = _slots(keys)
        self.found: list[_Match] = []
        self.unknown: list[int] = []
        group_of = np.zeros(_STANDARD_IDS if owner is None else len(owner), np.uint16)
        numbers: dict[tuple[int, int], int] = {}
        places = [{id(m): at for at, m in enumerate(database.messages)} for database in databases]
        for slot in used.tolist():
            key = slot if owner is None else int(owner[slot])
            hit = _find(databases, places, key)
            if hit is None:
                self.unknown.append(key)
                continue
            message, position = hit
            if position not in numbers:
                name = _name(databases, position[0], message)
                self.found.append(_Match(message, name, position, databases[position[0]].name))
                numbers[position] = len(self.found)
            group_of[slot] = numbers[position]
        narrow = group_of.astype(np.uint8) if len(self.found) < 256 else group_of
        self.groups = narrow[slots]


class _Branches:
    """The frames of a message sorted by one selector, so that each of its values is a stretch of them."""

    def __init__(self, selector: Signal, whole: Samples, times: Times) -> None:
        bits = whole.payloads.bits(selector).astype(np.uint8 if selector.length <= 8 else np.uint16)
        there = whole.payloads.length >= selector.needs_bytes
        if there.all():
            self.order = np.argsort(bits, kind="stable")
        else:
            rows = np.flatnonzero(there)
            bits = bits[rows]
            self.order = rows[np.argsort(bits, kind="stable")]
        counts = np.bincount(bits, minlength=1 << selector.length)
        self.starts = np.concatenate([np.zeros(1, np.intp), np.cumsum(counts)])
        self.times = times
        self.payloads = whole.payloads.take(self.order)

    def part(self, low: int, high: int) -> Samples:
        """The frames whose selector lies in a range."""
        top = len(self.starts) - 1
        begin, end = int(self.starts[min(low, top)]), int(self.starts[min(high + 1, top)])
        rows, payloads = self.order[begin:end], self.payloads.part(begin, end)
        if low != high:
            back = np.argsort(rows, kind="stable")
            rows, payloads = rows[back], payloads.take(back)
        return Samples(rows, self.times, payloads)


_Key = tuple[tuple["Condition", ...], int]


class _Reader:
    """Reads the signals of one message from its payloads, each only where it is there."""

    def __init__(self, message: Message, payloads: Payloads, times: Times) -> None:
        needed = max((signal.needs_bytes for signal in message.signals), default=0)
        self.message = message
        self.payloads = payloads.widened(max(needed, message.length))
        self.shortest = int(payloads.length.min()) if len(payloads) else 0
        self._times = times
        self._whole = Samples(None, times, self.payloads)
        self._parts: dict[_Key, Samples] = {}
        self._chosen: dict[Condition, NDArray[np.bool_]] = {}
        self._branches: dict[str, _Branches] = {}

    def _holds(self, condition: Condition) -> NDArray[np.bool_]:
        """bool (n,): frames in which a condition holds."""
        mask = self._chosen.get(condition)
        if mask is None:
            mask = np.zeros(len(self.payloads), np.bool_)
            selector = self.message.by_name.get(condition.selector)
            if selector is not None:
                bits = self.payloads.bits(selector)
                for low, high in condition.ranges:
                    mask |= (bits >= np.uint64(low)) & (bits <= np.uint64(high))
                mask &= self.payloads.length >= selector.needs_bytes
            self._chosen[condition] = mask
        return mask

    def _branch(self, condition: Condition) -> Samples | None:
        """The frames of one simple condition; None where that takes more than a stretch of sorted frames."""
        selector = self.message.by_name.get(condition.selector)
        if selector is None or selector.length > _SORTED_SELECTOR or len(condition.ranges) != 1:
            return None
        branches = self._branches.get(selector.name)
        if branches is None:
            branches = self._branches[selector.name] = _Branches(selector, self._whole, self._times)
        return branches.part(*condition.ranges[0])

    def _key(self, signal: Signal) -> _Key:
        return signal.conditions, signal.needs_bytes if signal.needs_bytes > self.shortest else 0

    def _part(self, key: _Key) -> Samples:
        conditions, needs = key
        if not conditions and not needs:
            return self._whole
        part = self._parts.get(key)
        if part is None:
            part = self._branch(conditions[0]) if len(conditions) == 1 and not needs else None
            if part is None:
                present = self.payloads.length >= needs
                for condition in conditions:
                    present &= self._holds(condition)
                rows = np.flatnonzero(present)
                part = Samples(rows, self._times, self.payloads.take(rows))
            self._parts[key] = part
        return part

    def columns(self, signals: Sequence[Signal], arena: Arena) -> dict[str, SignalColumn]:
        """All samples of some signals, by name."""
        by_part: dict[_Key, list[Signal]] = {}
        for signal in signals:
            by_part.setdefault(self._key(signal), []).append(signal)
        found: dict[str, SignalColumn] = {}
        for key, members in by_part.items():
            part = self._part(key)
            read = read_values(members, part.payloads, arena)
            every = np.broadcast_to(_VALID, len(part))
            for signal, (values, valid) in zip(members, read, strict=True):
                found[signal.name] = SignalColumn(signal, part, values, every if valid is None else valid)
        return {signal.name: found[signal.name] for signal in signals}

    def chosen_samples(self) -> int:
        """Multiplexed samples that are there: how well the payloads fit a multiplexed message."""
        return sum(len(self._part(self._key(signal)).rows) for signal in self.message.signals if signal.conditions)


class _Ordered:
    """The frames that belong to messages, sorted by message; columns that are all the same are not copied."""

    def __init__(self, table: FrameTable, order: NDArray[np.intp]) -> None:
        self.table = table
        self.order = order
        self.length = self._gathered(table.length)
        self.channel = self._gathered(table.channel)
        if table.width == CLASSIC_WIDTH and table.data.flags.c_contiguous:
            words: NDArray[np.uint64] = table.data.view(np.uint64)[:, 0].take(order, mode="clip")
            self.data: NDArray[np.uint8] = words.view(np.uint8).reshape(-1, CLASSIC_WIDTH)
        else:
            self.data = table.data[order]

    def _gathered(self, column: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if len(column) and (column == column[0]).all():
            return np.broadcast_to(column[0], len(self.order))
        return column.take(self.order, mode="clip")


def _wanted(message: Message, name: str, signals: Collection[str] | None) -> list[Signal]:
    if signals is None:
        return list(message.signals)
    return [signal for signal in message.signals if signal.name in signals or f"{name}.{signal.name}" in signals]


def _frames_of(
    match: _Match, frames: _Ordered, rows: slice | NDArray[np.intp], wanted: Sequence[Signal], arena: Arena
) -> MessageColumns:
    """Columns of a message whose every frame carries all of it."""
    message = match.message
    length, order = frames.length[rows], frames.order[rows]
    times = Times(frames.table.t_ns, order)
    reader = _Reader(message, Payloads(frames.data[rows], length), times)
    source_address: NDArray[np.uint8] | None = None
    if message.is_j1939:
        source_address = (frames.table.can_id[order] & np.uint32(0xFF)).astype(np.uint8)
    return MessageColumns(
        match.name,
        message,
        "j1939" if message.is_j1939 else "frame",
        times,
        frames.channel[rows],
        source_address,
        reader.payloads,
        0 if reader.shortest >= message.length or message.contained else int(np.count_nonzero(length < message.length)),
        reader.columns(wanted, arena),
        len(order),
        database=match.database,
    )


def _with_contained(outer: MessageColumns, signals: Collection[str] | None, arena: Arena) -> list[MessageColumns]:
    """A container's own columns with the numbers that nobody knows, and those of each message inside it."""
    found = contained_rows(outer.payloads, little=outer.message.little_headers)
    known = outer.message.contained
    unknown = {number: len(part.rows) for number, part in found.items() if number not in known}
    out = [replace(outer, unknown_parts=unknown)]
    for number, message in known.items():
        if number not in found:
            continue
        part = found[number]
        times = Times(outer.times, part.rows)
        reader = _Reader(message, part.payloads, times)
        out.append(
            MessageColumns(
                message.name,
                message,
                "container",
                times,
                outer.channel[part.rows],
                None,
                reader.payloads,
                int(np.count_nonzero(part.payloads.length < message.length)),
                reader.columns(_wanted(message, message.name, signals), arena),
                0,
                database=outer.database,
            )
        )
    return out


def _matrix(payloads: Sequence[Payload] | Sequence[Group], *, length_byte: bool) -> Payloads:
    """Reassembled payloads as rows; on demand with the low byte of their length in front."""
    parts = [
        bytes([len(payload.data) + payload.missing & 0xFF]) + payload.data if length_byte else payload.data
        for payload in payloads
    ]
    width = max(8, *map(len, parts))
    joined = b"".join(part.ljust(width, b"\0") for part in parts)
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    return Payloads(np.frombuffer(joined, np.uint8).reshape(len(parts), width), lengths)


def _payloads_of(match: _Match, table: FrameTable, wanted: Sequence[Signal], arena: Arena) -> MessageColumns | None:
    """Columns of a message that is longer than its frames: from the ISO-TP payloads that they carry.

    Databases describe such a message as it is sent, or with a length byte in front. Which of the two is asked of the
    payloads: of the multiplexed signals that they choose, or where there are none, of their length.
    """
    message = match.message
    payloads = reassemble(table).payloads
    if not payloads:
        return None
    times = Times(np.fromiter((payload.t_ns for payload in payloads), np.int64, len(payloads)))
    plain = _Reader(message, _matrix(payloads, length_byte=False), times)
    framed = _Reader(message, _matrix(payloads, length_byte=True), times)
    if message.is_multiplexed:
        use_framed = framed.chosen_samples() > plain.chosen_samples()
    else:
        lengths = [len(payload.data) + payload.missing for payload in payloads]
        use_framed = message.length not in lengths and message.length - 1 in lengths
    reader = framed if use_framed else plain
    return MessageColumns(
        match.name,
        message,
        "isotp+length" if use_framed else "isotp",
        times,
        np.fromiter((payload.channel for payload in payloads), np.uint8, len(payloads)),
        None,
        reader.payloads,
        int(np.count_nonzero(reader.payloads.length < message.length)),
        reader.columns(wanted, arena),
        sum(payload.frames for payload in payloads),
        database=match.database,
    )


def _split(match: _Match, frames: _Ordered, begin: int, end: int) -> tuple[slice | NDArray[np.intp], NDArray[np.intp]]:
    """Frames that carry the whole message, and frames that carry parts of it."""
    message = match.message
    if message.length <= CLASSIC_WIDTH or message.is_j1939:
        return slice(begin, end), np.empty(0, np.intp)
    whole = (frames.table.flags[frames.order[begin:end]] & np.uint8(FD)) != 0
    return begin + np.flatnonzero(whole), begin + np.flatnonzero(~whole)


class _Groups:
    """The messages that transported parameter groups of a table are, by number of the group."""

    def __init__(self, databases: Sequence[Database]) -> None:
        self.by_pgn: dict[int, _Match] = {}
        for number, database in enumerate(databases):
            for at, message in enumerate(database.messages):
                # Longer than a frame, a 29-bit message comes this way whether or not the database names J1939.
                if message.extended and (message.is_j1939 or message.length > CLASSIC_WIDTH) and not message.is_fd:
                    match = _Match(message, message.name, (number, at), database.name)
                    self.by_pgn.setdefault(pgn_from_id(message.can_id), match)

    def columns(self, table: FrameTable, signals: Collection[str] | None, arena: Arena) -> list[MessageColumns]:
        """The transported messages in a table."""
        found: dict[int, list[Group]] = {}
        rows = transport_rows(table)
        if self.by_pgn and len(rows):
            transport = table[rows]
            if not self.by_pgn.keys() & set(announced_groups(transport).tolist()):
                return []
            for group in reassemble_groups(transport).groups:
                if group.pgn in self.by_pgn:
                    found.setdefault(group.pgn, []).append(group)
        return [
            _groups_of(
                self.by_pgn[pgn], groups, _wanted(self.by_pgn[pgn].message, self.by_pgn[pgn].name, signals), arena
            )
            for pgn, groups in found.items()
        ]


def _groups_of(match: _Match, groups: Sequence[Group], wanted: Sequence[Signal], arena: Arena) -> MessageColumns:
    """Columns of a message that came by J1939-TP."""
    times = Times(np.fromiter((group.t_ns for group in groups), np.int64, len(groups)))
    reader = _Reader(match.message, _matrix(groups, length_byte=False), times)
    return MessageColumns(
        match.name,
        match.message,
        "j1939-tp",
        times,
        np.fromiter((group.channel for group in groups), np.uint8, len(groups)),
        np.fromiter((group.source for group in groups), np.uint8, len(groups)),
        reader.payloads,
        int(np.count_nonzero(reader.payloads.length < match.message.length)),
        reader.columns(wanted, arena),
        sum(group.frames for group in groups),
        database=match.database,
    )


def _ends(groups: NDArray[np.unsignedinteger], order: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """Where in a sorted order each of ``n`` groups ends: all of them searched for at once, without counting."""
    wanted = np.arange(n)
    low, high = np.zeros(n, np.intp), np.full(n, len(order), np.intp)
    for _ in range(len(order).bit_length()):
        middle = (low + high) // 2
        inside = middle < high
        later = np.zeros(n, np.bool_)
        later[inside] = groups[order[middle[inside]]] > wanted[inside]
        low, high = np.where(inside & ~later, middle + 1, low), np.where(later, middle, high)
    return low


def decode_table(
    table: FrameTable,
    databases: Sequence[Database],
    *,
    signals: Collection[str] | None = None,
    native: bool = False,
) -> Decoded:
    """Decodes all frames of a table with the first database that knows each identifier.

    Args:
        table: the frames.
        databases: in order of preference.
        signals: only these (``Signal`` or ``Message.Signal``); None is all.
        native: whole numbers in the smallest integer type that holds the signal's range, instead of float64.
    """
    frames = len(table)
    silent = (table.flags & np.uint8(NO_MESSAGE)) != 0
    if silent.any():
        table = table[~silent]
    has_extended = bool((table.flags & np.uint8(EXTENDED)).any())
    matches = _Matches(table.key if has_extended else table.can_id, databases)
    order = np.argsort(matches.groups, kind="stable")
    ends = _ends(matches.groups, order, len(matches.found) + 1)
    known = _Ordered(table, order[ends[0] :])
    ends -= ends[0]
    arena = Arena(native=native)
    messages: dict[str, MessageColumns] = {}
    decoded_frames = 0
    for number, match in sorted(enumerate(matches.found), key=lambda item: item[1].position):
        whole, parts = _split(match, known, int(ends[number]), int(ends[number + 1]))
        wanted = _wanted(match.message, match.name, signals)
        count = int(ends[number + 1] - ends[number]) - len(parts)
        decoded_frames += count
        if count and (wanted or signals is None or match.message.contained):
            columns = _frames_of(match, known, whole, wanted, arena)
            for each in _with_contained(columns, signals, arena) if match.message.contained else [columns]:
                if each.columns or signals is None:
                    messages[each.name if each.name not in messages else f"{each.name}@{match.name}"] = each
        if len(parts):
            long = _payloads_of(match, table[known.order[parts]], wanted, arena)
            if long is None:
                continue
            decoded_frames += long.can_frames
            if wanted or signals is None:
                messages[match.name if match.name not in messages else f"{match.name}@isotp"] = long
    unknown = set(matches.unknown)
    if has_extended:
        for columns in _Groups(databases).columns(table, signals, arena):
            decoded_frames += columns.can_frames
            unknown -= {key for key in unknown if key >> 16 & 0x3FF in TRANSPORT_FORMATS}
            if columns.columns or signals is None:
                messages[columns.name if columns.name not in messages else f"{columns.name}@j1939-tp"] = columns
    return Decoded(frames, decoded_frames, tuple(sorted(unknown)), messages)
