"""MDF files that our own reader leaves out, read through asammdf where it is installed.

Only for what :mod:`dbc.recording.mf4` says is beyond it (newer compressions, column-oriented storage, version 3).
asammdf's compiled parts can crash on a damaged file, so it works in a process of its own: this module run as a
program takes the file on its standard input and gives the columns on its standard output.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbc.errors import LibraryMissing, NotARecording, Phrase, RecordingBroken
from dbc.recording.lines import Read
from dbc.table import BITRATE_SWITCH, CLASSIC_WIDTH, ERROR_STATE, EXTENDED, FD, FD_WIDTH, TX, FrameTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read"]

_FRAME: Final = "CAN_DataFrame"
_COLUMN_NAMES: Final = ("t_ns", "can_id", "flags", "channel", "length", "data")
_PATIENCE_S: Final = 600
_REFUSED: Final = 3
_BITS: Final = (("IDE", EXTENDED), ("EDL", FD), ("BRS", BITRATE_SWITCH), ("ESI", ERROR_STATE), ("Dir", TX))


def _frames(signal: Any) -> FrameTable:
    """The frames of one group, which asammdf gives as a structured array."""
    samples = signal.samples
    n = len(samples)
    names = set(samples.dtype.names or ())

    def column(part: str) -> NDArray[np.int64] | None:
        name = f"{_FRAME}.{part}"
        return samples[name].astype(np.int64) if name in names else None

    ids = column("ID")
    stored = samples[f"{_FRAME}.DataBytes"] if f"{_FRAME}.DataBytes" in names else np.zeros((n, 8), np.uint8)
    if ids is None or stored.ndim != 2 or stored.dtype != np.uint8:
        raise ValueError("a group that is not laid out as CAN frames")
    length = column("DataLength")
    size = np.minimum(stored.shape[1], FD_WIDTH) if length is None else np.clip(length, 0, stored.shape[1])
    size = np.minimum(np.broadcast_to(size, n), FD_WIDTH)
    width = CLASSIC_WIDTH if not n or int(size.max()) <= CLASSIC_WIDTH else FD_WIDTH
    data = np.zeros((n, width), np.uint8)
    used = min(width, stored.shape[1])
    data[:, :used] = np.where(np.arange(used) < size[:, None], stored[:, :used], 0)
    can_id = (ids & 0x1FFF_FFFF).astype(np.uint32)
    flags = np.where((ids >> 31 & 1).astype(bool) | (can_id > 0x7FF), EXTENDED, 0).astype(np.uint8)
    for part, bit in _BITS:
        value = column(part)
        if value is not None:
            flags |= np.where(value != 0, bit, 0).astype(np.uint8)
    bus = column("BusChannel")
    channel = np.zeros(n, np.uint8) if bus is None else np.clip(bus, 0, 255).astype(np.uint8)
    t_ns = np.rint(np.asarray(signal.timestamps, np.float64) * 1e9).astype(np.int64)
    return FrameTable(t_ns, can_id, flags, channel, size.astype(np.uint8), data)


def _columns(content: bytes) -> dict[str, Any]:
    """What the child process gives: the columns, their number of groups, and the start in ns."""
    library = import_module("asammdf")
    with library.MDF(BytesIO(content)) as mdf:
        groups = [
            number
            for number, group in enumerate(mdf.groups)
            if any(channel.name == _FRAME for channel in group.channels)
        ]
        table = FrameTable.concat([_frames(mdf.get(_FRAME, group=number)) for number in groups]).by_time()
        start_ns = round(mdf.start_time.timestamp() * 1e9)
    out: dict[str, Any] = {name: getattr(table, name) for name in _COLUMN_NAMES}
    return out | {"groups": np.int64(len(groups)), "start_ns": np.int64(start_ns)}


def read(content: bytes, path: str, why: str) -> Read:
    """Reads a whole file; ``why`` says what our own reader lacks.

    Raises:
        LibraryMissing: asammdf is not installed.
        NotARecording: no CAN frames in it.
        RecordingBroken: asammdf cannot read it either.
    """
    if find_spec("asammdf") is None:
        raise LibraryMissing(path, f"asammdf ({why})", 'pip install "huizhen[mf4]"')
    place = Phrase("as MDF", "MDF 文件")
    command = [sys.executable, "-W", "ignore", "-m", __name__]
    try:
        done = subprocess.run(command, input=content, capture_output=True, check=False, timeout=_PATIENCE_S)  # noqa: S603 - our own module, no shell
    except subprocess.TimeoutExpired as exc:
        raise RecordingBroken(path, place, Phrase(f"{why}; asammdf does not finish", f"{why}；asammdf 超时")) from exc
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[-1][:200] if said and done.returncode == _REFUSED else "it crashed"
        raise RecordingBroken(path, place, Phrase(f"{why}; asammdf: {reason}", f"{why}；asammdf：{reason}"))
    with np.load(BytesIO(done.stdout), allow_pickle=False) as columns:
        if not int(columns["groups"]):
            raise NotARecording(path, Phrase("an MDF file without CAN frames", "MDF 文件中没有 CAN 报文"))
        table = FrameTable(*(columns[name] for name in _COLUMN_NAMES))
        start_ns = int(columns["start_ns"])
    names = tuple(str(number) for number in range(int(table.channel.max()) + 1 if len(table) else 0))
    return Read(table, names, start_ns=start_ns)


def _main() -> int:
    """The child process."""
    try:
        columns = _columns(sys.stdin.buffer.read())
    except Exception as exc:  # noqa: BLE001 - the top of a process: its one line goes to the parent
        sys.stderr.write(f"{' '.join(str(exc).split()) or type(exc).__name__}\n")
        return _REFUSED
    np.savez(sys.stdout.buffer, **columns)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
