"""Time travel: the past of some signals as minima and maxima, small enough for a screen.

``GET /r/ROOM/history?stream=S&signal=NAME&…&from_us=&to_us=&points=P``, in the room and in its replay. Little-endian::

    0   4 bytes  HZH1
    4   u16 u16  number of signals, 0
    8   u32 u32  number of points, 0
    16  u64 u64  from_us, step_us: point i covers from_us + i * step_us until the next
    32  f32[signals][points] minima; NaN where a point has no sample
    ..  f32[signals][points] maxima

Standard: none, this format is ours.
"""

from __future__ import annotations

import asyncio
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import numpy as np

from consult.errors import MessageBroken
from consult.recording import Recording
from consult.samplecolumns import read_columns
from diag.facts import Text

if TYPE_CHECKING:
    from pathlib import Path

    from multidict import MultiMapping

    from consult.roomkeys import KeySource

__all__ = [
    "MAX_POINTS",
    "MAX_SIGNALS",
    "MIN_POINTS",
    "HistoryQuery",
    "HistoryReader",
    "parse_history_query",
    "read_history",
]

MAX_SIGNALS: Final = 32
MIN_POINTS: Final = 10
MAX_POINTS: Final = 2_000
_HEAD: Final = struct.Struct("<4sHHIIQQ")
_MAGIC: Final = b"HZH1"
_LATEST_US: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What somebody wants to see of the past. Times in UTC microseconds, ``from_us < to_us``."""

    stream: int
    signals: tuple[str, ...]
    from_us: int
    to_us: int
    points: int

    @property
    def step_us(self) -> int:
        """How long a point is."""
        return -(-(self.to_us - self.from_us) // self.points)


def parse_history_query(query: MultiMapping[str]) -> HistoryQuery:
    """The query of a request.

    Raises:
        MessageBroken: a part is missing, is no number, or is out of its range.
    """
    signals = tuple(query.getall("signal", []))
    if not 1 <= len(signals) <= MAX_SIGNALS or any(len(name) > 200 for name in signals):
        raise MessageBroken(Text(f"1 to {MAX_SIGNALS} fields signal", f"字段 signal 应有 1 至 {MAX_SIGNALS} 个"))
    found = HistoryQuery(
        _whole(query, "stream", 0, 0xFFFF),
        signals,
        _whole(query, "from_us", 0, _LATEST_US),
        _whole(query, "to_us", 1, _LATEST_US),
        _whole(query, "points", MIN_POINTS, MAX_POINTS),
    )
    if found.from_us >= found.to_us:
        raise MessageBroken(Text("from_us is not before to_us", "from_us 应早于 to_us"))
    return found


def _whole(query: MultiMapping[str], name: str, least: int, most: int) -> int:
    text = query.get(name, "")
    if text.isascii() and text.isdigit() and len(text) <= 16 and least <= int(text) <= most:
        return int(text)
    raise MessageBroken(Text(f"field {name}: {least} to {most}", f"字段 {name} 应为 {least} 至 {most}"))


class HistoryReader:
    """Reads histories in a thread of its own, one at a time, and of each person one before the next.

    The threads that everything else uses write the journals: a page that looks at the whole past again and again must
    not keep them waiting, nor the pages of others.
    """

    def __init__(self, keys: KeySource | None = None) -> None:
        self._keys = keys
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def read(self, person: int, path: str | Path, query: HistoryQuery) -> bytes:
        """As :func:`read_history`, when it is this person's turn."""
        turn = self._turns.setdefault(person, asyncio.Lock())
        async with turn:
            return await asyncio.get_running_loop().run_in_executor(self._thread, read_history, path, query, self._keys)

    def close(self) -> None:
        """Reads no more; what is being read may go on for a moment."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def read_history(path: str | Path, query: HistoryQuery, keys: KeySource | None = None) -> bytes:
    """The answer as bytes; reads the recording, so it belongs into a thread.

    Args:
        path: the recording; it may be in use.
        query: see there.
        keys: where its key may be.

    Raises:
        MessageBroken: no epoch of the stream has these signals, or it is one of raw frames.
        RecordingBroken: the file cannot be read.
    """
    shape = (len(query.signals), query.points)
    low, high = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    known: set[str] = set()
    with Recording(path, keys) as recording:
        for span in recording.spans():
            if span.stream != query.stream:
                continue
            if span.kind == "raw":
                raise MessageBroken(Text("raw frames have no history", "原始帧没有历史曲线"))
            places = {name: at for at, name in enumerate(span.signals)}
            wanted = [(row, places[name]) for row, name in enumerate(query.signals) if name in places]
            known.update(query.signals[row] for row, _ in wanted)
            if not wanted:
                continue
            rows = [row for row, _ in wanted]
            for part in read_columns(recording, span, [at for _, at in wanted], query.from_us, query.to_us):
                bucket = (part.t_us - query.from_us) // query.step_us
                for place, row in enumerate(rows):
                    np.fmin.at(low[row], bucket, part.values[:, place])
                    np.fmax.at(high[row], bucket, part.values[:, place])
    lacking = [name for name in query.signals if name not in known]
    if lacking:
        raise MessageBroken(Text(f"no signal {lacking[0]} in this stream", f"此数据流没有信号 {lacking[0]}"))
    head = _HEAD.pack(_MAGIC, len(query.signals), 0, query.points, 0, query.from_us, query.step_us)
    return head + low.astype("<f4").tobytes() + high.astype("<f4").tobytes()
