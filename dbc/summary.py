"""What decoded signals did, summed up piece by piece: counts, ranges, means, and what counters and checksums say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dbc.protection import ProtectionTally, find_protection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbc.columns import Decoded, MessageColumns, SignalColumn, Source
    from dbc.database import Database
    from dbc.signals import Message, Signal

__all__ = ["Summary", "hex_id", "summary_from_decoded"]


def hex_id(key: int) -> str:
    """An identifier as people write it; bit 31 says that it has 29 bits."""
    return f"0x{key & 0x1FFF_FFFF:08X}" if key >> 31 else f"0x{key:03X}"


@dataclass(slots=True)
class _SignalTally:
    """One signal's samples."""

    signal: Signal
    n: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    first: tuple[int, float] | None = None
    last: tuple[int, float] | None = None
    invalid: int = 0
    out_of_range: int = 0

    def add(self, column: SignalColumn) -> None:
        values = column.values if column.valid.all() else column.values[column.valid]
        n = len(values)
        self.invalid += column.not_available
        if not n:
            return
        low, high = float(values.min()), float(values.max())
        self.low, self.high = (min(self.low, low), max(self.high, high)) if self.n else (low, high)
        self.n += n
        self.total += float(values.mean()) * n if n else 0.0
        self.out_of_range += int(np.count_nonzero(column.out_of_range))
        first, last = column.earliest, column.latest
        if first and (self.first is None or first[0] < self.first[0]):
            self.first = first
        if last and (self.last is None or last[0] >= self.last[0]):
            self.last = last

    def facts(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "min": self.low if self.n else None,
            "max": self.high if self.n else None,
            "mean": self.total / self.n if self.n else None,
            "first": self.first[1] if self.first else None,
            "last": self.last[1] if self.last else None,
            "unit": self.signal.unit,
            "invalid": self.invalid,
            "out_of_range": self.out_of_range,
        }


@dataclass(slots=True)
class _MessageTally:
    """One message's frames."""

    message: Message
    name: str
    source: Source
    protection: ProtectionTally | None
    frames: int = 0
    short: int = 0
    unknown_parts: dict[int, int] = field(default_factory=dict)
    signals: dict[str, _SignalTally] = field(default_factory=dict)

    def add(self, columns: MessageColumns) -> None:
        self.frames += len(columns)
        self.short += columns.short
        for number, n in columns.unknown_parts.items():
            self.unknown_parts[number] = self.unknown_parts.get(number, 0) + n
        if self.protection is not None and len(columns):
            self.protection.add(columns)
        for name, column in columns.columns.items():
            self.signals.setdefault(name, _SignalTally(column.signal)).add(column)

    def facts(self) -> dict[str, Any]:
        parts = {f"0x{number:06X}": n for number, n in sorted(self.unknown_parts.items())}
        protection = self.protection.facts() if self.protection is not None and self.frames else None
        return {
            "frames": self.frames,
            "source": self.source,
            "short": self.short,
            **({"unknown_parts": parts} if parts else {}),
            **({"protection": protection} if protection else {}),
            "signals": {name: tally.facts() for name, tally in self.signals.items()},
        }


_SUFFIX: dict[Source, str] = {"isotp": "isotp", "isotp+length": "isotp", "j1939-tp": "j1939-tp"}


class Summary:
    """Counts, and each signal's range.

    Args:
        databases: messages are shown in their order; as they occur, where these are not given.
    """

    def __init__(self, databases: Sequence[Database] = ()) -> None:
        self.frames = self.decoded_frames = 0
        self.unknown: set[int] = set()
        self._messages: dict[tuple[str, str], _MessageTally] = {}
        self._places = {
            id(message): (at, row)
            for at, database in enumerate(databases)
            for row, message in enumerate(database.messages)
        }

    def add(self, decoded: Decoded) -> None:
        """Takes what was decoded of some frames, which follow those before."""
        self.frames += decoded.frames
        self.decoded_frames += decoded.decoded_frames
        self.unknown.update(decoded.unknown_ids)
        for name, columns in decoded.messages.items():
            plain = name.removesuffix(f"@{_SUFFIX.get(columns.source, '')}")
            key = plain, _SUFFIX.get(columns.source, "")
            tally = self._messages.get(key)
            if tally is None:
                found = find_protection(columns.message, columns.database)
                protection = ProtectionTally(found) if found is not None else None
                tally = self._messages[key] = _MessageTally(columns.message, plain, columns.source, protection)
            tally.add(columns)

    @property
    def short_frames(self) -> int:
        """Frames that are shorter than their message."""
        return sum(tally.short for tally in self._messages.values())

    def facts(self) -> dict[str, Any]:
        """``huizhen.decode/1`` of the command line's contract."""
        last = len(self._places), 0
        ordered = sorted(
            self._messages.items(),
            key=lambda item: (item[0][1] == "j1939-tp", self._places.get(id(item[1].message), last)),
        )
        messages: dict[str, Any] = {}
        for (name, suffix), tally in ordered:
            messages[name if name not in messages or not suffix else f"{name}@{suffix}"] = tally.facts()
        return {
            "schema": "huizhen.decode/1",
            "frames": self.frames,
            "decoded_frames": self.decoded_frames,
            "unknown_ids": [hex_id(key) for key in sorted(self.unknown)],
            "short_frames": self.short_frames,
            "messages": messages,
        }


def summary_from_decoded(decoded: Decoded) -> dict[str, Any]:
    """``huizhen.decode/1`` of the command line's contract for frames that were decoded at once."""
    summary = Summary()
    summary.add(decoded)
    return summary.facts()
