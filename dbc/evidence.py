"""What a recording says for and against a database, kind by kind, as logarithms of odds.

Each kind compares two stories: the frames are of the database, or they are of another car that has some identifiers in
common with it. An identifier alone is weak: every car fills the same 2,048 of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.decoding import decode_table
from dbc.errors import Phrase
from dbc.protection import find_protection
from dbc.table import EXTENDED, NO_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from dbc.columns import MessageColumns, SignalColumn
    from dbc.database import Database
    from dbc.table import FrameTable

__all__ = ["KINDS", "Evidence", "Reason", "Sample", "evidence_for"]

KINDS: Final = ("identifiers", "lengths", "counters", "checksums", "selectors", "ranges", "smoothness", "cycles")
"""The kinds of evidence, in the order of :attr:`Evidence.odds`."""

_FRAMES_PER_ID: Final = 600
"""Frames of each identifier that are looked at: the first ones, so that counters and curves are whole."""
_USED_IDS: Final = 1200
"""Of the 2,048 short identifiers so many are really used for broadcast."""
_J1939_CHANCE: Final = 0.02
"""Parameter groups mean the same on every bus that speaks J1939: one in common is seldom chance."""
_LONG_CHANCE: Final = 1e-4
_DIAGNOSTIC: Final = 0x700
_MOST: Final = 4.0
"""No single message says more than this, for or against."""
_LENGTHS: Final = {8: 0.7, 7: 0.05, 6: 0.06, 5: 0.04, 4: 0.05, 3: 0.03, 2: 0.04, 1: 0.02}
"""How long messages of any car are."""
_ENOUGH: Final = 20
_DISTINCT: Final = 6
_MEASURED_BITS: Final = 8
_SMOOTH: Final = 0.6
"""Mean step over standard deviation below which a curve is smooth; 1.13 for noise."""
_ALIKE: Final = 0.6
"""Share of messages with the same layout from which two databases count as relatives."""
_NOT_MEASURED: Final = re.compile(r"counter|checksum|crc|chk|alive|seq", re.IGNORECASE)


class Sample:
    """The part of a recording that is looked at: broadcast frames only, the first ones of each identifier.

    Attributes:
        table: those frames.
        frames: all frames of each identifier (bit 31 for 29 bits).
    """

    def __init__(self, table: FrameTable) -> None:
        kept = np.flatnonzero(((table.flags & np.uint8(NO_MESSAGE)) == 0) & ~_is_diagnostic(table))
        keys = table.key[kept]
        order = np.argsort(keys, kind="stable")
        values, first, count = np.unique(keys[order], return_index=True, return_counts=True)
        rank = np.empty(len(kept), np.int64)
        rank[order] = np.arange(len(kept)) - np.repeat(first, count)
        self.table = table[kept[rank < _FRAMES_PER_ID]]
        self.frames: Mapping[int, int] = dict(zip(values.tolist(), count.tolist(), strict=True))


def _is_diagnostic(table: FrameTable) -> NDArray[np.bool_]:
    """bool (n,): requests and answers, which every car has."""
    extended = (table.flags & np.uint8(EXTENDED)) != 0
    long = extended & ((table.can_id & np.uint32(0x1FFE_0000)) == np.uint32(0x18DA_0000))
    out: NDArray[np.bool_] = long | (~extended & (table.can_id >= _DIAGNOSTIC))
    return out


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that speaks for or against.

    Args:
        kind: one of :data:`KINDS`.
        weight: log odds before calibration; negative against.
    """

    kind: str
    text: Phrase
    weight: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a recording says of one database.

    Args:
        odds: log odds by kind, as in :data:`KINDS`, before calibration.
        known: identifiers that the database knows.
        layouts: a number for the layout of each message that was seen.
    """

    odds: tuple[float, ...]
    reasons: tuple[Reason, ...]
    known: int
    layouts: frozenset[int]

    def agrees_with(self, other: Evidence) -> bool:
        """Whether another database says the same of most of what was seen: the two cannot be told apart by it."""
        both = len(self.layouts & other.layouts)
        return bool(both) and both >= _ALIKE * len(self.layouts | other.layouts)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _overlap(known: int, total: int, by_chance: float) -> float:
    """Log odds of so many of a database's messages, of its own car against one that shares some of them by chance.

    How many of them one bus of their car shows may be anything: databases describe several buses, or variants.
    """
    spread = 8.0
    mean = min(max(by_chance, 1e-3), 0.8)
    ours = -math.log(total + 1)  # every number is equally likely
    chance = _log_beta(known + spread * mean, total - known + spread * (1 - mean)) - _log_beta(
        spread * mean, spread * (1 - mean)
    )
    return ours - chance - _log_choose(total, known)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _clip(odds: float) -> float:
    return max(-_MOST, min(_MOST, odds))


class _Tally:
    """Log odds of one kind, message by message."""

    def __init__(self) -> None:
        self.odds: list[float] = []
        self.good = self.bad = 0

    def add(self, odds: float, *, good: bool) -> None:
        self.odds.append(_clip(odds))
        self.good += good
        self.bad += not good

    @property
    def sum(self) -> float:
        """Messages of one car agree with each other: many of them say less than so many cars."""
        return max(-2 * _MOST, min(2 * _MOST, sum(self.odds) / (1 + 0.1 * len(self.odds))))


def _judge_lengths(columns: MessageColumns, tally: _Tally) -> None:
    if columns.source != "frame" or not len(columns):
        return
    wanted = columns.message.length
    share = float(np.mean(columns.payloads.length == wanted))
    common = _LENGTHS.get(wanted, 0.02)
    right, wrong = math.log(0.96 / common), math.log(0.04 / (1 - common))
    tally.add(share * right + (1 - share) * wrong, good=share > 0.5)


def _judge_protection(columns: MessageColumns, database: str, counters: _Tally, checksums: _Tally) -> str | None:
    """Counter and checksum of one message; the name of the checksum's scheme where it fits."""
    protection = find_protection(columns.message, database)
    if protection is None or len(columns) < 2:
        return None
    verdicts = protection.check(columns)
    moved = verdicts.step[verdicts.step >= 0]
    if protection.counter is not None and len(moved) >= 4:
        share = float(np.mean(moved == 1))
        # Counters have 2 to 8 bits: by chance one step in 4 to 256 is right.
        chance = 2.0 ** -min(protection.counter.length, 8)
        good = share > 0.7
        counters.add(math.log(share / chance) if good else -3.0 if share < 0.4 else -1.0, good=good)
    if protection.checksum is None or protection.scheme is None:
        return None
    constants = 16 if protection.scheme.learns else 0
    if len(columns) <= constants + 4:
        return None
    share = float(np.mean(verdicts.checksum_ok))
    good = share > 0.7
    checksums.add(_MOST if good else -3.0, good=good)
    return protection.scheme.name if good else None


def _judge_selectors(columns: MessageColumns, tally: _Tally) -> None:
    """Whether the values of selectors are those that the database has branches for."""
    message = columns.message
    ranges: dict[str, set[tuple[int, int]]] = {}
    for signal in message.signals:
        for condition in signal.conditions:
            ranges.setdefault(condition.selector, set()).update(condition.ranges)
    for name, allowed in ranges.items():
        column = columns.columns.get(name)
        if column is None or not len(column):
            continue
        raw = column.raw
        inside = np.zeros(len(raw), np.bool_)
        for low, high in allowed:
            inside |= (raw >= low) & (raw <= high)
        share = float(np.mean(inside))
        chance = min(0.9, sum(high - low + 1 for low, high in allowed) / (1 << column.signal.length) + 0.2)
        seen = len(np.unique(raw[inside])) if share else 0
        good = share > 0.9
        tally.add(math.log(0.95 / chance) * min(seen, 3) if good else math.log(0.05 / (1 - chance)), good=good)


def _judge_values(column: SignalColumn, ranges: _Tally, smooth: _Tally) -> None:
    """Whether one signal keeps its range, and moves as something measured does."""
    signal = column.signal
    values = column.values[column.valid] if not column.valid.all() else column.values
    if len(values) < _ENOUGH or signal.is_float or _NOT_MEASURED.search(signal.name):
        return
    distinct = len(np.unique(values[:_FRAMES_PER_ID]))
    low, high = signal.minimum, signal.maximum
    span = (1 << signal.length) * abs(float(signal.scale))
    if low is not None and high is not None and 0 < float(high) - float(low) < 0.9 * span and distinct > 1:
        cover = 0.4 + 0.6 * (float(high) - float(low)) / span
        outside = float(np.mean(column.out_of_range))
        good = outside < 0.02
        ranges.add(math.log(0.97 / cover) if good else max(math.log(0.03 / (1 - cover)), -2.0), good=good)
    if signal.length >= _MEASURED_BITS and distinct >= _DISTINCT and not signal.labels:
        rough = float(np.mean(np.abs(np.diff(values)))) / (float(np.std(values)) or 1.0)
        good = rough < _SMOOTH
        smooth.add(0.5 if good else -0.9, good=good)


def _judge_cycles(columns: MessageColumns, tally: _Tally) -> None:
    wanted = columns.message.cycle_time_ms
    if not wanted or len(columns) < 5:
        return
    t_ns = columns.t_ns
    if not t_ns.any():
        return
    ratio = float(np.median(np.diff(t_ns))) / 1e6 / wanted
    good = 0.8 < ratio < 1.25
    tally.add(1.4 if good else -1.5, good=good)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What a bus and a database have in common by identifiers.

    Args:
        known: messages of the database that are on the bus.
        total: all its broadcast messages.
        by_chance: what share of them would be there if the bus were another car's.
        frames: share of the bus's frames that have one of their identifiers.
    """

    known: int
    total: int
    by_chance: float
    frames: float


def _shared(database: Database, sample: Sample) -> _Shared:
    seen: set[int] = set()
    frames = 0
    for key, count in sample.frames.items():
        message = database.find_message(key & 0x1FFF_FFFF, extended=bool(key >> 31))
        if message is not None:
            seen.add(message.can_id | message.extended << 31)
            frames += count
    own = [key for key in database.by_key if key >> 31 or key < _DIAGNOSTIC] or list(database.by_key)
    long = sum(key >> 31 for key in sample.frames)
    short = len(sample.frames) - long
    chances = [
        (_J1939_CHANCE if long else 0.0)
        if message.is_j1939
        else min(long * _LONG_CHANCE, 0.5)
        if message.extended
        else short / _USED_IDS
        for message in (database.by_key[key] for key in own)
    ]
    total = max(len(own), len(seen), 1)
    return _Shared(len(seen), total, sum(chances) / max(len(chances), 1), frames / max(sum(sample.frames.values()), 1))


def evidence_for(database: Database, sample: Sample) -> Evidence:
    """All that a recording says of one database."""
    shared = _shared(database, sample)
    if not shared.known:
        return Evidence((-_MOST,) + (0.0,) * (len(KINDS) - 1), (), 0, frozenset())
    tallies = {kind: _Tally() for kind in KINDS[1:]}
    schemes: set[str] = set()
    layouts: set[int] = set()
    for columns in decode_table(sample.table, [database]).messages.values():
        message = columns.message
        layouts.add(hash((message.can_id, message.length, tuple((s.start, s.length) for s in message.signals))))
        _judge_lengths(columns, tallies["lengths"])
        scheme = _judge_protection(columns, database.name, tallies["counters"], tallies["checksums"])
        schemes |= {scheme} if scheme else set()
        _judge_selectors(columns, tallies["selectors"])
        for column in columns.columns.values():
            _judge_values(column, tallies["ranges"], tallies["smoothness"])
        _judge_cycles(columns, tallies["cycles"])
    overlap = max(-2 * _MOST, min(_MOST, _overlap(shared.known, shared.total, shared.by_chance)))
    expected = shared.by_chance * shared.total
    ids = Reason(
        "identifiers",
        Phrase(
            f"{shared.known} of its {shared.total} messages are on the bus ({100 * shared.frames:.0f} % of the "
            f"frames); by chance about {expected:.0f} would be",
            f"其 {shared.total} 条报文中有 {shared.known} 条在总线上（占报文的 {100 * shared.frames:.0f} %）；"
            f"偶然相同约 {expected:.0f} 条",
        ),
        overlap,
    )
    reasons = (ids, *(_reasons(tallies, schemes)))
    odds = (overlap, *(tallies[kind].sum for kind in KINDS[1:]))
    return Evidence(odds, reasons, shared.known, frozenset(layouts))


_SAID: Final[Mapping[str, tuple[str, str]]] = {
    "lengths": ("messages have the length it says", "条报文长度与其一致"),
    "counters": ("counters count as they should", "个计数器计数正确"),
    "checksums": ("messages have the right checksum", "条报文校验和正确"),
    "selectors": ("selectors have only values that it knows", "个复用选择信号的取值均在其中"),
    "ranges": ("signals keep the range that it declares", "个信号在其声明的范围内"),
    "smoothness": ("measured signals move smoothly", "个测量信号变化平滑"),
    "cycles": ("messages have the period that it says", "条报文周期与其一致"),
}


def _reasons(tallies: Mapping[str, _Tally], schemes: set[str]) -> Iterator[Reason]:
    for kind, tally in tallies.items():
        if not tally.odds:
            continue
        en, zh = _SAID[kind]
        total = tally.good + tally.bad
        more = ", ".join(sorted(schemes)) if kind == "checksums" else ""
        text = Phrase(
            f"{tally.good} of {total} {en}" + (f" ({more})" if more else ""),
            f"{total} 中有 {tally.good} {zh}" + (f"（{more}）" if more else ""),
        )
        yield Reason(kind, text, tally.sum)
