"""What is known of a recording besides its frames; counted piece by piece, so that no recording is too long."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbc.errors import Phrase
from dbc.recording.lines import KEPT_BAD_LINES, BadLine
from dbc.recording.timeline import segment_starts
from dbc.table import CLASSIC_WIDTH, ERROR, FD_WIDTH, REMOTE, TX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbc.errors import DbcError
    from dbc.recording.lines import Read
    from dbc.table import FrameTable

__all__ = [
    "BINARY_FORMATS",
    "About",
    "Facts",
    "Tally",
    "common_channels",
    "common_start",
    "facts_from",
    "joined",
    "moved",
]

BINARY_FORMATS: Final = ("mf4", "blf", "pcap", "python-can-sqlite", "frames-parquet")
_SECOND_NS: Final = 1_000_000_000
_YEAR_2000_NS: Final = 946_684_800_000_000_000
_MOST_SEGMENTS: Final = 1000
_MOST_BUSES: Final = 256
_SLOT_BITS: Final = 16
_MULTIPLIER: Final = 0x9E3779B1


@dataclass(slots=True)
class Tally:
    """What all frames together are like.

    Args:
        frames: how many.
        first_ns: time of the oldest; 0 without frames.
        last_ns: time of the newest.
        keys: identifiers, with bit 31 for 29 bits.
        buses: indices of the buses that occur.
        is_sent: one was sent by the recorder itself.
        has_error_content: an error frame has an identifier or data.
        has_sent_errors: an error frame was sent.
        in_time: none is older than the one before it.
        in_kinds: of those of one moment data frames come first, then remote requests, then errors.
        whole_seconds: no stamp has a fraction.
        has_long: one has more than eight bytes.
        kinds: how many data frames, remote requests, error frames.
        segments: the first rows at which another capture begins, because the time jumps back by a second or more.
        segment_count: how many such rows there are.
    """

    frames: int = 0
    first_ns: int = 0
    last_ns: int = 0
    keys: set[int] = field(default_factory=set)
    buses: set[int] = field(default_factory=set)
    is_sent: bool = False
    has_error_content: bool = False
    has_sent_errors: bool = False
    in_time: bool = True
    in_kinds: bool = True
    whole_seconds: bool = True
    has_long: bool = False
    kinds: list[int] = field(default_factory=lambda: [0, 0, 0])
    segments: list[int] = field(default_factory=list)
    segment_count: int = 0
    _before: tuple[int, int] | None = None
    _known: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(1 << _SLOT_BITS, np.uint32), repr=False)

    def add(self, table: FrameTable, *, begins: bool = False) -> None:
        """Counts some frames, which follow those before or, as told, begin another capture."""
        if not len(table):
            return
        t_ns, flags = table.t_ns, table.flags
        error = (flags & np.uint8(ERROR)) != 0
        rank = np.where(error, 2, np.where(flags & np.uint8(REMOTE), 1, 0))
        if self._before is not None:
            t_ns = np.concatenate([np.array([self._before[0]]), t_ns])
            rank = np.concatenate([np.array([self._before[1]]), rank])
        step = np.diff(t_ns)
        self.in_time = self.in_time and not bool((step < 0).any())
        self.in_kinds = self.in_kinds and not bool(((step == 0) & (np.diff(rank) < 0)).any())
        starts = segment_starts(t_ns)
        first_row = self.frames - (self._before is not None)
        if begins and self.frames and starts[:1] != [1]:
            starts.insert(0, 1)
        self.segments += [first_row + row for row in starts[: _MOST_SEGMENTS - len(self.segments)]]
        self.segment_count += len(starts)
        self._before = int(t_ns[-1]), int(rank[-1])
        low, high = int(table.t_ns.min()), int(table.t_ns.max())
        self.first_ns = min(self.first_ns, low) if self.frames else low
        self.last_ns = max(self.last_ns, high) if self.frames else high
        self._note_keys(table.key)
        self.buses.update(np.flatnonzero(np.bincount(table.channel)).tolist())
        sent = (flags & np.uint8(TX)) != 0
        self.is_sent = self.is_sent or bool(sent.any())
        if error.any():
            content = (table.length > 0) | (table.can_id > 0)
            self.has_error_content = self.has_error_content or bool((error & content).any())
            self.has_sent_errors = self.has_sent_errors or bool((error & sent).any())
        self.whole_seconds = self.whole_seconds and not bool((table.t_ns % _SECOND_NS).any())
        self.has_long = self.has_long or bool((table.length > CLASSIC_WIDTH).any())
        kinds = np.bincount(rank[-len(table) :], minlength=3)
        self.kinds = [old + int(new) for old, new in zip(self.kinds, kinds, strict=True)]
        self.frames += len(table)

    def _note_keys(self, keys: NDArray[np.uint32]) -> None:
        """Adds identifiers; those that were seen before are found without sorting."""
        slots = (keys * np.uint32(_MULTIPLIER)) >> np.uint32(32 - _SLOT_BITS)
        new = keys[self._known[slots] != keys]
        if len(new):
            self.keys.update(np.unique(new).tolist())
            self._known[(new * np.uint32(_MULTIPLIER)) >> np.uint32(32 - _SLOT_BITS)] = new
        if 0 not in self.keys and not keys.all():
            self.keys.add(0)

    @property
    def width(self) -> int:
        """Bytes that every payload fits in: 8 or 64."""
        return FD_WIDTH if self.has_long else CLASSIC_WIDTH


@dataclass(frozen=True, slots=True, eq=False)
class About:
    """What a recording is, besides its frames.

    Args:
        path: as given.
        format: name of the dialect, such as ``candump``, ``gvret`` or ``mf4``.
        channels: names of the buses by the table's channel index.
        bad_lines: the first lines that could not be read, with the reason.
        bad_line_count: how many there are.
        start_ns: UTC in ns since the Unix epoch of the table's time 0, 0 when the stamps are UTC themselves; None
            when the recording does not say.
        whole_seconds: the stamps have no fraction.
        timed: False where the dialect has no time at all; then all times are 0 and the order is the file's.
        local_start: date and time of time 0 by a clock without a zone, None when not said.
        notes: what a person should know about the content.
    """

    path: str
    format: str
    channels: tuple[str, ...] = ()
    bad_lines: tuple[BadLine, ...] = ()
    bad_line_count: int = 0
    start_ns: int | None = None
    whole_seconds: bool = False
    timed: bool = True
    local_start: str | None = None
    notes: tuple[Phrase, ...] = ()

    def about(self) -> dict[str, Any]:
        """All of this by name, to be said of something else."""
        return {entry.name: getattr(self, entry.name) for entry in fields(About)}


@dataclass(frozen=True, slots=True, eq=False)
class Facts(About):
    """The same with what its frames are like, but without these.

    Args:
        tally: what its frames are like.
    """

    tally: Tally = field(kw_only=True)

    @property
    def segments(self) -> tuple[int, ...]:
        """The first rows at which another capture begins, because the time jumps back; without the first row."""
        return tuple(self.tally.segments)


def joined(
    path: str, found: Sequence[tuple[str, About]], others: Sequence[tuple[str, DbcError]], channels: Sequence[str]
) -> About:
    """What is known of several recordings of an archive together.

    Args:
        path: of the archive.
        found: names and recordings.
        others: names of files that are none, and why.
        channels: names of the buses of all of them.
    """
    bad: list[BadLine] = []
    notes = [Phrase(f"{len(found)} recordings in the archive", f"压缩包内有 {len(found)} 个记录")]
    for name, one in found:
        bad += [
            BadLine(line.line, Phrase(f"{name}: {line.reason.en}", f"{name}：{line.reason.zh}"))
            for line in one.bad_lines
        ]
        notes += [Phrase(f"{name}: {note.en}", f"{name}：{note.zh}") for note in one.notes]
    for name, error in others:
        why = getattr(error, "reason", str(error))
        reason = why if isinstance(why, Phrase) else Phrase(str(why), str(why))
        notes.append(Phrase(f"{name}: {reason.en}", f"{name}：{reason.zh}"))
    each = [one for _, one in found]
    return About(
        path,
        "+".join(dict.fromkeys(one.format for one in each)),
        tuple(channels),
        tuple(bad[:KEPT_BAD_LINES]),
        sum(one.bad_line_count for one in each),
        common_start(each),
        all(one.whole_seconds for one in each),
        all(one.timed for one in each),
        None,
        tuple(notes),
    )


def common_start(recordings: Sequence[About]) -> int | None:
    """UTC in ns of the first start of several recordings; None unless each of them says its own."""
    starts = [one.start_ns for one in recordings]
    known = [start for start in starts if start is not None]
    return min(known) if len(known) == len(starts) else None


def common_channels(recordings: Sequence[About]) -> list[str]:
    """The buses of several recordings by name."""
    return list(dict.fromkeys(name for one in recordings for name in one.channels))[:_MOST_BUSES]


def moved(table: FrameTable, one: About, channels: Sequence[str], start_ns: int | None) -> FrameTable:
    """Frames of one of several recordings, with the channels and the time 0 of all of them."""
    shift = (one.start_ns or 0) - start_ns if start_ns is not None else 0
    numbers = [channels.index(bus) if bus in channels else 255 for bus in one.channels] or [0]
    channel = np.array(numbers, np.uint8)[np.minimum(table.channel, len(numbers) - 1)]
    return replace(table, channel=channel, t_ns=table.t_ns + shift)


def facts_from(path: str, name: str, read: Read, tally: Tally, wraps: int) -> Facts:
    """A reader's result with its times looked at.

    Args:
        path: as given.
        name: of the dialect.
        read: what the reader said; its table does not count.
        tally: of all frames.
        wraps: how often the clock started again and was carried on.
    """
    notes = list(read.notes)
    if wraps:
        notes.append(Phrase(f"the clock started again {wraps} times; carried on", f"时间计数回绕 {wraps} 次，已接续"))
    if read.timed and tally.segment_count:
        count = tally.segment_count
        shown = ", ".join(f"{row + 1}" for row in tally.segments[:5]) + (" …" if count > 5 else "")
        en = f"the time jumps back {count} times (at frame {shown}): several captures in one file"
        notes.append(Phrase(en, f"时间倒退 {count} 次（第 {shown} 帧）：文件中拼接了多段记录"))
    if not read.timed and tally.frames:
        notes.append(Phrase("no times in this format; the order is the file's", "该格式没有时间，保持文件中的顺序"))
    # MF4 always names a start; 1970 stands for none.
    unknown = name == "mf4" and read.start_ns == 0 and tally.frames and tally.first_ns < _YEAR_2000_NS
    return Facts(
        path,
        name,
        read.channels,
        tuple(read.bad_lines),
        read.bad_line_count,
        None if unknown else read.start_ns,
        bool(tally.frames) and name not in BINARY_FORMATS and read.timed and tally.whole_seconds,
        read.timed,
        read.local_start,
        tuple(notes),
        tally=tally,
    )
