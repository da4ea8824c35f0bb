"""End-to-end protection of broadcast messages: does the counter count, does the checksum fit?

Two kinds of databases say how. In ours a message is protected when its attribute ``E2EDataId`` is not negative: its
signals ``<Message>_Counter`` and ``<Message>_Checksum`` carry a cyclic counter, from 0 to the counter signal's maximum,
and CRC-8/SAE-J1850 over the identifier of the data (two bytes, low one first) and the payload without the checksum
byte. In makers' databases the signals are called ``COUNTER`` and ``CHECKSUM`` (or end so), and the name of the
database says which maker's checksum it is (:mod:`dbc.checksums`).

Standard: SAE J1850 for the polynomial; the layouts are the databases' own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbc.checksums import Scheme, crc8, scheme_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbc.bits import Payloads
    from dbc.decoding import MessageColumns
    from dbc.signals import Message, Signal

__all__ = ["Protection", "ProtectionTally", "Verdicts", "crc8_j1850", "find_protection"]

_POLYNOMIAL: Final = 0x1D
_START: Final = 0xFF
_FINAL_XOR: Final = 0xFF


_COUNTER_NAMES: Final = ("counter",)
_CHECKSUM_NAMES: Final = ("checksum",)
_WIDE: Final = 16
_ROUNDS: Final = 3
"""Times that a counter must have gone round before how far it counts is learned."""


def crc8_j1850(data: bytes) -> int:
    """CRC-8/SAE-J1850 of ``data``; of ``123456789`` it is 0x4B."""
    return int(crc8(np.frombuffer(data, np.uint8)[None, :], _POLYNOMIAL, _START)[0]) ^ _FINAL_XOR


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What the protection says about each frame of a message.

    Args:
        checksum_ok: bool (n,); false too for a frame that ends before its checksum.
        counter: int64 (n,), -1 where the frame ends before it.
        step: int64 (n,), how far the counter moved since the frame before on the same bus: 1 is right, 0 a repeated
            or frozen frame, more means lost ones; -1 for the first frame and where a counter is missing or outside
            its range.
    """

    t_ns: NDArray[np.int64]
    checksum_ok: NDArray[np.bool_]
    counter: NDArray[np.int64]
    step: NDArray[np.int64]

    @property
    def checksum_errors(self) -> int:
        """Frames whose checksum does not fit."""
        return int(np.count_nonzero(~self.checksum_ok))

    @property
    def lost(self) -> int:
        """Frames that the counter says are missing."""
        return int(np.maximum(self.step - 1, 0).sum())

    @property
    def frozen(self) -> int:
        """Frames whose counter did not move."""
        return int(np.count_nonzero(self.step == 0))

    @property
    def valid(self) -> NDArray[np.bool_]:
        """bool (n,): frames that may be trusted: right checksum, and a counter that moved or is the first."""
        trusted: NDArray[np.bool_] = self.checksum_ok & (self.step != 0) & (self.counter >= 0)
        return trusted


@dataclass(frozen=True, slots=True)
class Protection:
    """The protection of one message.

    Args:
        counter: None where the message has none.
        modulus: the counter runs from 0 to ``modulus - 1``; 0 where the database does not say how far.
        checksum: None where the message has none, or nobody knows how it is made.
        scheme: how it is made; None only without a checksum.
        is_assumed: the scheme is known by the database's name alone, and may not be this message's.
    """

    message: Message
    counter: Signal | None
    modulus: int
    checksum: Signal | None
    scheme: Scheme | None
    is_assumed: bool = False

    @property
    def checksum_byte(self) -> int:
        """Where in the payload the checksum stands.

        Raises:
            ValueError: the message has none.
        """
        if self.checksum is None:
            raise ValueError(f"{self.message.name} has no checksum")
        return self.checksum.first_bit // 8

    def _expected(self, data: NDArray[np.uint8], got: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.scheme is None or self.checksum is None:
            return got
        return self.scheme.expected(data, self.message.can_id, self.checksum, got)

    def checksum_of(self, data: bytes) -> int:
        """The checksum that a whole payload should have; the one it has where a single frame does not show that."""
        if self.checksum is None:
            return 0
        got = np.array([self.checksum.bits_of(data)], np.int64)
        if self.scheme is None or self.scheme.learns:
            return int(got[0])
        return int(self._expected(np.frombuffer(data, np.uint8)[None, :], got)[0])

    def holds(self, data: bytes) -> bool:
        """Whether one payload is whole and its checksum, as far as a single frame shows it, fits."""
        if len(data) < self.message.length:
            return False
        return self.checksum is None or self.checksum_of(data[: self.message.length]) == self.checksum.bits_of(data)

    def check(self, columns: MessageColumns) -> Verdicts:
        """Judges all frames of the message."""
        payloads, size = columns.payloads, self.message.length
        whole = payloads.length >= size
        fits = whole.copy()
        if self.checksum is not None and whole.any():
            got = payloads.bits(self.checksum)[whole].astype(np.int64)
            fits[whole] = self._expected(payloads.data[whole, :size], got) == got
        counter = self._counter(payloads)
        return Verdicts(columns.t_ns, fits, counter, self._steps(counter, columns.channel))

    def trusted(self, verdicts: Verdicts) -> NDArray[np.bool_]:
        """bool (n,): frames whose values may be used: all of them where an assumed scheme fits fewer than half.

        Then it is the scheme that is wrong, and not the frames.
        """
        if self.is_assumed and len(verdicts.checksum_ok) and 2 * verdicts.checksum_errors > len(verdicts.checksum_ok):
            return np.ones(len(verdicts.checksum_ok), np.bool_)
        return verdicts.checksum_ok

    def _counter(self, payloads: Payloads) -> NDArray[np.int64]:
        """int64 (n,): the counter, -1 where the frame ends before it or it is outside its range."""
        if self.counter is None:
            return np.full(len(payloads), -1, np.int64)
        counter = payloads.bits(self.counter).astype(np.int64)
        modulus = self.modulus or 1 << self.counter.length
        counter[(payloads.length < self.counter.needs_bytes) | (counter >= modulus)] = -1
        return counter

    def _steps(self, counter: NDArray[np.int64], channels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """int64 (n,): how far the counter moved since the frame before on the same bus."""
        step = np.full(len(counter), -1, np.int64)
        first, modulus = 0, self.modulus
        if self.counter is not None and not modulus:
            # How far it counts is learned, where it was seen to go round often enough.
            seen = counter[counter >= 0]
            modulus = 1 << self.counter.length
            if len(seen) >= _ROUNDS * modulus:
                first, modulus = int(seen.min()), int(seen.max()) - int(seen.min()) + 1
        for channel in np.unique(channels):
            rows = np.flatnonzero(channels == channel)
            now, before = counter[rows[1:]], counter[rows[:-1]]
            moved = (now - first) % max(modulus, 1) - (before - first) % max(modulus, 1)
            step[rows[1:]] = np.where((now >= 0) & (before >= 0), moved % max(modulus, 1), -1)
        return step


class ProtectionTally:
    """What the protection says about all frames of a message that come piece by piece.

    How far a counter goes may show only at the end: until then it is counted how often each number followed each.
    A checksum whose constant is learned from the frames is learned from each piece anew.
    """

    def __init__(self, protection: Protection) -> None:
        self._protection = protection
        self._frames = self._errors = 0
        counter = protection.counter
        top = 1 << counter.length if counter is not None else 0
        # The last row and column stand for "no number".
        self._followed = np.zeros((top + 1, top + 1), np.int64)
        self._last: dict[int, int] = {}
        self._top = top

    def add(self, columns: MessageColumns) -> None:
        """Judges some frames, which follow those before."""
        verdicts = self._protection.check(columns)
        self._frames += len(columns)
        self._errors += verdicts.checksum_errors
        if self._protection.counter is None:
            return
        for channel in np.unique(columns.channel).tolist():
            numbers = verdicts.counter[columns.channel == channel]
            numbers = np.where(numbers < 0, self._top, numbers)
            if channel in self._last:
                numbers = np.concatenate([np.array([self._last[channel]]), numbers])
            else:
                # Seen, though it followed nothing.
                self._followed[self._top, numbers[0]] += 1
            np.add.at(self._followed, (numbers[:-1], numbers[1:]), 1)
            self._last[channel] = int(numbers[-1])

    def facts(self) -> dict[str, Any]:
        """``scheme``, ``checksum_errors``, and with a counter ``lost`` and ``frozen``."""
        protection = self._protection
        is_wrong = protection.is_assumed and 2 * self._errors > self._frames
        is_known = protection.checksum is not None and not is_wrong
        facts: dict[str, Any] = {"scheme": protection.scheme.name if protection.scheme and is_known else None}
        facts["checksum_errors"] = self._errors if is_known else None
        if protection.counter is not None:
            followed = self._followed[: self._top, : self._top]
            seen = self._followed[:, : self._top].sum(axis=0)
            first, modulus = 0, protection.modulus
            if not modulus:
                modulus = self._top
                present = np.flatnonzero(seen)
                if int(seen.sum()) >= _ROUNDS * modulus:
                    first, modulus = int(present[0]), int(present[-1] - present[0]) + 1
            numbers = (np.arange(self._top) - first) % max(modulus, 1)
            step = (numbers[None, :] - numbers[:, None]) % max(modulus, 1)
            facts["lost"] = int((np.maximum(step - 1, 0) * followed).sum())
            facts["frozen"] = int(followed[step == 0].sum())
        return facts


def _own(data_id: int) -> Scheme:
    """The scheme of our own databases."""

    def expected(data: NDArray[np.uint8], _: int, signal: Signal, __: NDArray[np.int64]) -> NDArray[np.int64]:
        head = np.broadcast_to(np.frombuffer(data_id.to_bytes(2, "little"), np.uint8), (len(data), 2))
        rest = np.delete(data, signal.first_bit // 8, axis=1)
        return crc8(np.concatenate([head, rest], axis=1), _POLYNOMIAL, _START) ^ _FINAL_XOR

    return Scheme("CRC-8 SAE J1850 with a data identifier", expected)


def _own_protection(message: Message) -> Protection | None:
    data_id = message.attributes.get("E2EDataId", -1)
    counter = message.by_name.get(f"{message.name}_Counter")
    checksum = message.by_name.get(f"{message.name}_Checksum")
    if not isinstance(data_id, int) or not 0 <= data_id <= 0xFFFF or counter is None or checksum is None:
        return None
    if checksum.length != 8 or checksum.first_bit % 8 or checksum.needs_bytes > message.length:
        return None
    top = 1 << counter.length
    modulus = int(counter.maximum) + 1 if counter.maximum is not None and 0 < counter.maximum < top else top
    return Protection(message, counter, modulus, checksum, _own(data_id))


def _named(message: Message, endings: tuple[str, ...]) -> Signal | None:
    """The one signal, always there and inside the message, whose name is or ends in one of some words."""
    found = [
        signal
        for signal in message.signals
        if signal.name.lower().endswith(endings)
        and not signal.conditions
        and not signal.is_float
        and signal.needs_bytes <= message.length
    ]
    exact = [signal for signal in found if signal.name.lower() in endings]
    return exact[0] if len(exact) == 1 else found[0] if len(found) == 1 else None


def _fits_scheme(checksum: Signal, scheme: Scheme, message: Message) -> bool:
    """Whether a signal is what the scheme is made for: a whole byte, half a byte, or the first two."""
    if checksum.length != scheme.bits:
        return False
    if scheme.bits == _WIDE:
        return checksum.first_bit == 0 and message.length > _WIDE // 8
    return checksum.first_bit % scheme.bits == 0


def find_protection(message: Message, database: str = "") -> Protection | None:
    """The protection of a message; None when it has none, or one whose signals are not as described above.

    Args:
        message: of a database.
        database: its name, which says whose checksums it has.
    """
    own = _own_protection(message)
    if own is not None:
        return own
    counter = _named(message, _COUNTER_NAMES)
    if counter is not None and not 2 <= counter.length <= 8:
        counter = None
    scheme = scheme_of(database)
    checksum = _named(message, _CHECKSUM_NAMES)
    if checksum is not None and (scheme is None or not _fits_scheme(checksum, scheme, message)):
        checksum = None
    if counter is None and checksum is None:
        return None
    return Protection(message, counter, 0, checksum, scheme if checksum is not None else None, is_assumed=True)
