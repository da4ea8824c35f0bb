"""What databases make of a table of frames: messages, and their signals as columns of samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

import numpy as np

from dbc.bits import Payloads, raw_from_bits
from dbc.errors import Phrase, UnknownSignal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

    from dbc.dataframes import Arrays
    from dbc.signals import Message, Signal

__all__ = ["Decoded", "MessageColumns", "Samples", "SignalColumn", "Source", "Times"]

Source = Literal["frame", "isotp", "isotp+length", "j1939", "j1939-tp", "container"]
"""How a message was found: as a frame by its identifier, in reassembled ISO-TP payloads, in such payloads with a
length byte in front, as a frame by its parameter group, in reassembled parameter groups of J1939-TP, or inside the
frames of an AUTOSAR container."""


class Times:
    """Times of frames, gathered when somebody first asks: most values are read without them.

    Args:
        source: int64 (m,), ns.
        picks: intp (n,), which of them; None for all.
    """

    __slots__ = ("_picks", "_t_ns")

    def __init__(self, source: NDArray[np.int64] | Times, picks: NDArray[np.intp] | None = None) -> None:
        self._t_ns = source
        self._picks = picks

    def get(self) -> NDArray[np.int64]:
        """int64 (n,)."""
        source = self._t_ns.get() if isinstance(self._t_ns, Times) else self._t_ns
        self._t_ns = source if self._picks is None else source.take(self._picks)
        self._picks = None
        return self._t_ns


class Samples:
    """Some frames of a message, in which the same signals are there.

    Args:
        rows: intp (n,), which frames of the message these are; None for all of them.
        times: of all frames of the message.
        payloads: the bytes of these frames.
    """

    __slots__ = ("_rows", "_times", "payloads")

    def __init__(self, rows: NDArray[np.intp] | None, times: Times, payloads: Payloads) -> None:
        self.payloads = payloads
        self._rows = rows
        self._times = times if rows is None else Times(times, rows)

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def rows(self) -> NDArray[np.intp]:
        """intp (n,), which frames of the message these are."""
        if self._rows is None:
            self._rows = np.arange(len(self.payloads))
        return self._rows

    @property
    def t_ns(self) -> NDArray[np.int64]:
        """int64 (n,); gathered when first asked for."""
        return self._times.get()


@dataclass(frozen=True, slots=True, eq=False)
class SignalColumn:
    """All samples of one signal: one per frame in which the signal is there.

    Args:
        samples: the frames with their times and payloads; signals that are always together share them.
        values: float64 (n,) in ``signal.unit``; NaN where not valid. Decoded in native types, whole numbers come in
            the smallest integer type for the signal; where not valid they are the code's number.
        valid: bool (n,), false where the sender says "not available" or "error".
    """

    signal: Signal
    samples: Samples = field(repr=False)
    values: NDArray[np.number]
    valid: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def rows(self) -> NDArray[np.intp]:
        """intp (n,), which frames of the message these are."""
        return self.samples.rows

    @property
    def t_ns(self) -> NDArray[np.int64]:
        """int64 (n,)."""
        return self.samples.t_ns

    @property
    def raw(self) -> NDArray[np.uint64] | NDArray[np.int64]:
        """The raw numbers (n,): int64 for signed signals, else uint64 (for a float its bit pattern)."""
        return raw_from_bits(self.signal, self.samples.payloads.bits(self.signal))

    @property
    def not_available(self) -> int:
        """Samples that are there and say "not available"."""
        return len(self.valid) - int(np.count_nonzero(self.valid))

    @property
    def out_of_range(self) -> NDArray[np.bool_]:
        """bool (n,): valid samples beyond the range that the database declares.

        Declared limits are often rounded: a value counts as beyond only when it is by more than half a step.
        """
        low, high = self.signal.minimum, self.signal.maximum
        beyond = np.zeros(len(self.values), np.bool_)
        if low is not None and high is not None and low >= high:
            return beyond
        slack = 0.0 if self.signal.is_float else abs(float(self.signal.scale)) / 2
        with np.errstate(invalid="ignore"):
            if low is not None:
                beyond |= self.values < float(low) - slack
            if high is not None:
                beyond |= self.values > float(high) + slack
        return beyond & self.valid

    @property
    def earliest(self) -> tuple[int, float] | None:
        """Time and value of the oldest valid sample."""
        found = np.flatnonzero(self.valid)
        if not len(found):
            return None
        row = found[np.argmin(self.t_ns[found])]
        return int(self.t_ns[row]), float(self.values[row])

    @property
    def latest(self) -> tuple[int, float] | None:
        """Time and value of the newest valid sample; of several at one time the one recorded last."""
        found = np.flatnonzero(self.valid)[::-1]
        if not len(found):
            return None
        row = found[np.argmax(self.t_ns[found])]
        return int(self.t_ns[row]), float(self.values[row])


@dataclass(frozen=True, slots=True, eq=False)
class MessageColumns:
    """All frames (or reassembled payloads) of one message.

    Args:
        name: of the message; ``name@database`` where an earlier database has the same name, and ``name@database_2``
            for the second message of that name in one database.
        times: of the frames; see :attr:`t_ns`.
        channel: uint8 (n,), index of the bus.
        source_address: uint8 (n,) for J1939, else None.
        payloads: the bytes.
        short: frames with fewer bytes than the message.
        columns: the signals by name.
        can_frames: CAN frames that these came in; 0 for what is inside a container, whose frames they are.
        unknown_parts: of a container the header numbers that the database does not know, with how often.
        database: name of the database that the message is of.
    """

    name: str
    message: Message
    source: Source
    times: Times = field(repr=False)
    channel: NDArray[np.uint8]
    source_address: NDArray[np.uint8] | None
    payloads: Payloads = field(repr=False)
    short: int
    columns: Mapping[str, SignalColumn]
    can_frames: int
    unknown_parts: Mapping[int, int] = field(default_factory=dict)
    database: str = ""

    def __len__(self) -> int:
        return len(self.channel)

    @property
    def t_ns(self) -> NDArray[np.int64]:
        """int64 (n,); gathered when first asked for."""
        return self.times.get()

    def find_signal(self, name: str) -> SignalColumn | None:
        """The signal of this name, or of ``Message.Signal``."""
        own = name.removeprefix(f"{self.name}.")
        return self.columns[name] if name in self.columns else self.columns.get(own)


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What databases make of a table of frames.

    Args:
        frames: CAN frames in the table.
        decoded_frames: those that belong to a message of a database.
        unknown_ids: keys (identifier, with bit 31 for 29 bits) that no database knows, sorted.
        messages: by name, in the order of the databases; only those that occur.
        start_ns: UTC of the frames' time 0, in ns since 1970; None = not known.
    """

    frames: int
    decoded_frames: int
    unknown_ids: tuple[int, ...]
    messages: Mapping[str, MessageColumns]
    start_ns: int | None = None

    @property
    def short_frames(self) -> int:
        """Frames that are shorter than their message; what is there of them was decoded."""
        return sum(columns.short for columns in self.messages.values())

    @property
    def signals(self) -> tuple[str, ...]:
        """Every signal that occurs, as ``Message.Signal``."""
        return tuple(f"{name}.{signal}" for name, columns in self.messages.items() for signal in columns.columns)

    def find_signal(self, name: str) -> SignalColumn | None:
        """The first signal of this name, or of ``Message.Signal``, whichever message it is in."""
        for columns in self.messages.values():
            if (column := columns.find_signal(name)) is not None:
                return column
        return None

    def find_sent(self, name: str) -> tuple[MessageColumns, SignalColumn]:
        """The same with the frames that it came in.

        Raises:
            UnknownSignal: no frame carried it.
        """
        for columns in self.messages.values():
            if (column := columns.find_signal(name)) is not None:
                return columns, column
        there = sorted({signal for columns in self.messages.values() for signal in columns.columns})
        names = ", ".join(get_close_matches(name, there, n=3, cutoff=0.4) or there[:3]) or "-"
        raise UnknownSignal(name, Phrase(f"in these frames are {names}", f"这些报文中有 {names}"))

    def __getitem__(self, name: str) -> SignalColumn:
        """The samples of one signal: ``decoded["PackVoltage"].values``.

        Raises:
            UnknownSignal: no frame carried it.
        """
        return self.find_sent(name)[1]

    def to_numpy(self, *names: str) -> Arrays:
        """Arrays of one length: a row per frame that carries one of the signals; see :class:`dbc.dataframes.Arrays`.

        Raises:
            UnknownSignal: no frame carried it.
        """
        from dbc.dataframes import arrays_from_decoded

        return arrays_from_decoded(self, names)

    def to_pandas(self, *names: str) -> pd.DataFrame:
        """A row per frame, a column per signal (all, where none is named); see :mod:`dbc.dataframes`.

        Raises:
            UnknownSignal: no frame carried it.
            LibraryMissing: the extra ``pandas`` is not installed.
        """
        from dbc.dataframes import pandas_from_decoded

        return pandas_from_decoded(self, names)

    def to_polars(self, *names: str) -> pl.DataFrame:
        """As :meth:`to_pandas`, with the time in the column ``t``.

        Raises:
            UnknownSignal: no frame carried it.
            LibraryMissing: the extra ``polars`` is not installed.
        """
        from dbc.dataframes import polars_from_decoded

        return polars_from_decoded(self, names)
