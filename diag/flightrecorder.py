"""The flight recorder: all traffic in a ring on disk, and the half minutes around an event kept for good.

The ring is a folder of short candump files; the oldest go when it is full. They are plain text, whole after every
batch, so that a crash of this machine costs the last line and nothing else. An event copies the frames from before it
to after it into a file of its own; events that follow each other closely become one.

No clock: the frames' own times count.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from diag.facts import Json, Text
    from diag.frames import Frame

__all__ = ["FlightRecorder", "KeptEvent", "candump_line"]

_SEGMENT: Final = re.compile(r"ring-(\d{8})\.log")
_SEGMENT_S: Final = 10.0
_NAME: Final = re.compile(r"[^\w.:-]+")
_LONGEST_S: Final = 600.0


def candump_line(frame: Frame) -> str:
    """A frame as ``candump -L`` writes it."""
    seconds, ns = divmod(frame.t_ns, 1_000_000_000)
    channel = _NAME.sub("_", frame.channel) or "can0"
    start = f"({seconds}.{ns // 1000:06d}) {channel} "
    if frame.error:
        return f"{start}{0x20000000 | frame.can_id:08X}#{frame.data.hex().upper()}\n"
    ident = f"{frame.can_id:08X}" if frame.extended else f"{frame.can_id:03X}"
    if frame.remote:
        return f"{start}{ident}#R\n"
    if frame.fd:
        return f"{start}{ident}##1{frame.data.hex().upper()}\n"
    return f"{start}{ident}#{frame.data.hex().upper()}\n"


@dataclass(slots=True)
class KeptEvent:
    """What was kept.

    Args:
        t_ns: the first of its reasons.
        start_ns: first moment that is in the file.
        end_ns: last one.
        is_whole: everything around it was in the ring and the time after it was recorded to its end.
        frames: how many.
    """

    t_ns: int
    reasons: list[tuple[int, Text]]
    path: Path
    start_ns: int
    end_ns: int
    is_whole: bool = True
    frames: int = 0

    def to_json(self) -> Json:
        """``huizhen.event/1``, which stands beside the frames."""
        return {
            "schema": "huizhen.event/1",
            "time": datetime.fromtimestamp(self.t_ns / 1e9, UTC).isoformat(),
            "frames_file": self.path.name,
            "frames": self.frames,
            "from_s": round((self.start_ns - self.t_ns) / 1e9, 3),
            "to_s": round((self.end_ns - self.t_ns) / 1e9, 3),
            "whole": self.is_whole,
            "reasons": [{"s": round((at - self.t_ns) / 1e9, 3), "text": text.to_json()} for at, text in self.reasons],
        }


@dataclass(slots=True)
class FlightRecorder:
    """Records frames into a folder and keeps what surrounds events.

    Args:
        folder: is made; an older ring in it is gone on with.
        limit_bytes: size of the ring.
        before_s: kept before an event.
        after_s: kept after it.

    Raises:
        OSError: the folder cannot be written, or the disk is full; what was written stays.
    """

    folder: Path
    limit_bytes: int = 500_000_000
    before_s: float = 30.0
    after_s: float = 30.0
    _segments: list[tuple[int, int, int, Path]] = field(default_factory=list)
    _file: IO[str] | None = None
    _number: int = 0
    _first_ns: int = 0
    _last_ns: int = 0
    _newest_ns: int = 0
    _size: int = 0
    _waiting: KeptEvent | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.iterdir()):
            if found := _SEGMENT.fullmatch(path.name):
                self._number = max(self._number, int(found[1]) + 1)
                times = _times(path)
                if times is None:
                    continue
                self._segments.append((*times, path.stat().st_size, path))

    def take(self, frames: Iterable[Frame]) -> tuple[KeptEvent, ...]:
        """Records frames in the order of their times.

        Returns:
            Events that are complete now.
        """
        try:
            return self._take(frames)
        except OSError:
            with suppress(OSError):  # its buffer cannot be written either
                self._close_segment()
            self._file = None
            raise

    def _take(self, frames: Iterable[Frame]) -> tuple[KeptEvent, ...]:
        kept: list[KeptEvent] = []
        for frame in frames:
            if frame.t_ns < self._last_ns:  # an adapter's clock that went back must not hide frames
                self._close_segment()
            file = self._file
            if file is None or frame.t_ns - self._first_ns >= _SEGMENT_S * 1e9:
                file = self._next_segment(frame.t_ns)
            line = candump_line(frame)
            file.write(line)
            self._size += len(line)
            self._last_ns = frame.t_ns
            self._newest_ns = max(self._newest_ns, frame.t_ns)
            if self._waiting is not None and frame.t_ns > self._waiting.end_ns:
                kept.append(self._keep(self._waiting))
        if self._file is not None:
            self._file.flush()
        self._forget()
        return tuple(kept)

    def trigger(self, t_ns: int, reason: Text) -> None:
        """Something happened: what surrounds it is to be kept.

        Args:
            t_ns: when, by the frames' clock.
            reason: what, for people.
        """
        after = int(self.after_s * 1e9)
        waiting = self._waiting
        if waiting is not None and t_ns + after - waiting.start_ns <= _LONGEST_S * 1e9:
            waiting.reasons.append((t_ns, reason))
            waiting.end_ns = max(waiting.end_ns, t_ns + after)
            return
        if waiting is not None:
            self._keep(waiting)
        stamp = datetime.fromtimestamp(t_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S")
        path = self.folder / f"event-{stamp}.log"
        number = 1
        while path.exists():
            number += 1
            path = self.folder / f"event-{stamp}-{number}.log"
        self._waiting = KeptEvent(t_ns, [(t_ns, reason)], path, t_ns - int(self.before_s * 1e9), t_ns + after)

    def close(self) -> tuple[KeptEvent, ...]:
        """Ends the recording; an event that waits for its last seconds is kept as far as it goes."""
        kept = (self._keep(self._waiting),) if self._waiting is not None else ()
        self._close_segment()
        return kept

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def newest_ns(self) -> int:
        """Time of the newest frame; 0 before the first."""
        return self._newest_ns

    def copy(self, start_ns: int, end_ns: int, path: Path) -> int:
        """Copies what the ring holds of a time into a candump file; returns the number of frames."""
        count = 0
        with path.open("w", encoding="ascii") as out:
            for t_ns, line in _lines(self._paths(start_ns, end_ns)):
                if start_ns <= t_ns <= end_ns:
                    out.write(line)
                    count += 1
        return count

    def _paths(self, start_ns: int, end_ns: int) -> list[Path]:
        """The ring's files that may hold frames of a time, the one being written included."""
        paths = [path for first, last, _, path in self._segments if last >= start_ns and first <= end_ns]
        if self._file is not None:
            self._file.flush()
            paths.append(self.folder / f"ring-{self._number - 1:08d}.log")
        return paths

    def _next_segment(self, t_ns: int) -> IO[str]:
        self._close_segment()
        path = self.folder / f"ring-{self._number:08d}.log"
        self._number += 1
        self._file = path.open("w", encoding="ascii")
        self._first_ns, self._size = t_ns, 0
        self._last_ns = t_ns
        return self._file

    def _close_segment(self) -> None:
        if self._file is None:
            return
        path = self.folder / f"ring-{self._number - 1:08d}.log"
        self._segments.append((self._first_ns, self._last_ns, self._size, path))
        self._last_ns = 0
        file, self._file = self._file, None
        file.close()

    def _forget(self) -> None:
        """Removes the oldest files of the ring, never what a waiting event still needs."""
        total = sum(size for _, _, size, _ in self._segments) + self._size
        needed_from = self._waiting.start_ns if self._waiting is not None else None
        while self._segments and total > self.limit_bytes:
            _, last_ns, size, path = self._segments[0]
            if needed_from is not None and last_ns >= needed_from:
                return
            path.unlink(missing_ok=True)
            self._segments.pop(0)
            total -= size

    def _keep(self, event: KeptEvent) -> KeptEvent:
        """Copies the event's frames out of the ring."""
        self._waiting = None
        part = event.path.with_suffix(".part")
        first_ns = last_ns = None
        with part.open("w", encoding="ascii") as out:
            for t_ns, line in _lines(self._paths(event.start_ns, event.end_ns)):
                if event.start_ns <= t_ns <= event.end_ns:
                    out.write(line)
                    event.frames += 1
                    first_ns = t_ns if first_ns is None else first_ns
                    last_ns = t_ns
        part.replace(event.path)
        ring_from = min((first for first, *_ in self._segments), default=self._first_ns)
        event.is_whole = ring_from <= event.start_ns and self._newest_ns >= event.end_ns
        if first_ns is not None and last_ns is not None:
            event.start_ns, event.end_ns = max(event.start_ns, first_ns), min(event.end_ns, last_ns)
        place = event.path.with_suffix(".json")
        text = json.dumps(event.to_json(), ensure_ascii=False, indent=1) + "\n"
        place.with_suffix(".part").write_text(text, encoding="utf-8")
        place.with_suffix(".part").replace(place)
        return event


def _lines(paths: Iterable[Path]) -> Iterator[tuple[int, str]]:
    """Whole lines of candump files with their times; a cut last line is left out."""
    for path in paths:
        with path.open(encoding="ascii", errors="replace") as file:
            for line in file:
                if (t_ns := _time(line)) is not None and line.endswith("\n"):
                    yield t_ns, line


def _time(line: str) -> int | None:
    seconds, point, rest = line[1:].partition(".")
    fraction = rest[:6]
    if not line.startswith("(") or not point or not seconds.isdecimal() or not fraction.isdecimal():
        return None
    return int(seconds) * 1_000_000_000 + int(fraction) * 1000


def _times(path: Path) -> tuple[int, int] | None:
    """First and last time in a file; None without a whole line."""
    first = last = None
    for t_ns, _ in _lines([path]):
        first = t_ns if first is None else first
        last = t_ns
    return None if first is None or last is None else (first, last)
