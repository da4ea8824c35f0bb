"""Decoded values for programs and notebooks: from a recording to NumPy arrays, pandas and polars data frames.

::

    decoded = dbc.decode("drive.mf4", "car.dbc")
    decoded["PackVoltage"].values                     # NumPy
    decoded.to_pandas("PackVoltage", "PackCurrent")   # a row per frame, a column per signal

pandas and polars are optional: the extras ``pandas`` and ``polars``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.database import Database, load
from dbc.decoding import decode_table
from dbc.errors import LibraryMissing, Phrase, UnknownSignal
from dbc.recording import Recording, open_recording
from dbc.table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

    from dbc.columns import Decoded, MessageColumns, SignalColumn

__all__ = ["Arrays", "arrays_from_decoded", "check_signals", "decode", "pandas_from_decoded", "polars_from_decoded"]

_CLOSE: Final = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """Signals side by side: ``arrays["PackVoltage"] * arrays["PackCurrent"]``.

    Args:
        t_ns: int64 (n,), times of the frames, not decreasing.
        values: each signal float64 (n,), NaN where the frame does not carry it or the sender gives no value.
    """

    t_ns: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.values[name]

    def __len__(self) -> int:
        return len(self.t_ns)


def decode(
    recording: str | Path | Recording | FrameTable,
    *databases: str | Path | Database,
    signals: Collection[str] | None = None,
    start_ns: int | None = None,
) -> Decoded:
    """Decodes a recording with databases.

    Args:
        recording: a file of any dialect, one that is open, or frames in columns (of ``diag.listen``).
        databases: files or loaded ones, in order of preference.
        signals: only these (``Signal`` or ``Message.Signal``); None is all.
        start_ns: UTC of the frames' time 0, in ns since 1970; None = what the recording says. 0 for ``diag.listen``.

    Raises:
        DbcError: the recording or a database cannot be read.
        UnknownSignal: a signal was asked for that no database has.
    """
    known = [each if isinstance(each, Database) else load(each) for each in databases]
    if signals is not None:
        check_signals(signals, known)
    if isinstance(recording, FrameTable):
        table = recording
    else:
        opened = recording if isinstance(recording, Recording) else open_recording(recording)
        table = opened.table
        start_ns = opened.start_ns if start_ns is None else start_ns
    return replace(decode_table(table, known, signals=signals), start_ns=start_ns)


def check_signals(names: Collection[str], databases: Sequence[Database]) -> None:
    """Whether some database has each of these (``Signal`` or ``Message.Signal``).

    Raises:
        UnknownSignal: none has it; says what is called alike.
    """
    messages = [message for database in databases for message in database.messages]
    known = {signal.name for message in messages for signal in message.signals}
    full = {f"{message.name}.{signal.name}" for message in messages for signal in message.signals}
    for name in names:
        if name not in known and name not in full:
            raise _unknown(name, known | full, sorted(known)[:3])


def _unknown(name: str, known: Collection[str], usual: Sequence[str]) -> UnknownSignal:
    names = ", ".join(get_close_matches(name, sorted(known), n=3, cutoff=_CLOSE) or usual)
    return UnknownSignal(name, Phrase(f"perhaps {names}", f"是否指 {names}"))


def _chosen(decoded: Decoded, names: Sequence[str]) -> dict[str, tuple[MessageColumns, SignalColumn]]:
    """The signals under the names that their columns get: all, where none is named."""
    if names:
        return {name: decoded.find_sent(name) for name in dict.fromkeys(names)}
    every = [(columns, column) for columns in decoded.messages.values() for column in columns.columns.values()]
    plain = [column.signal.name for _, column in every]
    counts = {name: plain.count(name) for name in set(plain)}
    return {
        name if counts[name] == 1 else f"{columns.name}.{name}": (columns, column)
        for name, (columns, column) in zip(plain, every, strict=True)
    }


def arrays_from_decoded(decoded: Decoded, names: Sequence[str]) -> Arrays:
    """A row per frame that carries one of the signals, in the order of time."""
    chosen = _chosen(decoded, names)
    places: dict[int, tuple[NDArray[np.intp], int]] = {}  # by message: row of the frame -> row of the table
    times: list[NDArray[np.int64]] = []
    n = 0
    for columns in dict.fromkeys(columns for columns, _ in chosen.values()):
        is_there = np.zeros(len(columns), np.bool_)
        for other, column in chosen.values():
            if other is columns:
                is_there[column.rows] = True
        places[id(columns)] = np.cumsum(is_there) - 1, n
        times.append(columns.t_ns[is_there])
        n += len(times[-1])
    t_ns = np.concatenate(times) if times else np.empty(0, np.int64)
    order = np.argsort(t_ns, kind="stable")
    arrays: dict[str, NDArray[np.float64]] = {}
    for name, (columns, column) in chosen.items():
        values = np.full(n, np.nan)
        place, first = places[id(columns)]
        values[first + place[column.rows]] = np.where(column.valid, column.values, np.nan)
        arrays[name] = values[order]
    return Arrays(t_ns[order], arrays)


def _need(library: str) -> None:
    if find_spec(library) is None:
        raise LibraryMissing(f"to_{library}()", library, f"pip install 'huizhen[{library}]'")


def _units(decoded: Decoded, names: Mapping[str, object]) -> dict[str, str]:
    return {name: column.signal.unit for name, (_, column) in _chosen(decoded, [*names]).items()}


def pandas_from_decoded(decoded: Decoded, names: Sequence[str]) -> pd.DataFrame:
    """The same as a data frame with the time as its index ``t``.

    Raises:
        LibraryMissing: pandas is not installed.
    """
    _need("pandas")
    import pandas as pd

    arrays = arrays_from_decoded(decoded, names)
    t_ns, values = arrays.t_ns, arrays.values
    if decoded.start_ns is None:
        index = pd.to_timedelta(t_ns, unit="ns")
    else:
        index = pd.to_datetime(t_ns + np.int64(decoded.start_ns), unit="ns", utc=True)
    frame = pd.DataFrame(dict(values), index=index.rename("t"))
    frame.attrs["units"] = _units(decoded, values)
    return frame


def polars_from_decoded(decoded: Decoded, names: Sequence[str]) -> pl.DataFrame:
    """The same as a data frame whose first column ``t`` is the time; null where there is no value.

    Raises:
        LibraryMissing: polars is not installed.
    """
    _need("polars")
    import polars as pl

    arrays = arrays_from_decoded(decoded, names)
    t_ns, values = arrays.t_ns, arrays.values
    if decoded.start_ns is None:
        t = pl.Series("t", t_ns).cast(pl.Duration("ns"))
    else:
        t = pl.Series("t", t_ns + np.int64(decoded.start_ns)).cast(pl.Datetime("ns", "UTC"))
    columns = [pl.Series(name, column, nan_to_null=True) for name, column in values.items()]
    return pl.DataFrame([t, *columns])
