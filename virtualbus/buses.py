"""What has been said on the buses of one car: the last value of every signal, and when each message was last sent."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from virtualbus.chemistry import Floats
    from virtualbus.ecu import Ecu, Value
    from virtualbus.network import Broadcast, Catalogue

__all__ = ["Buses"]

_NEVER: Final = -math.inf
_SLOW_NS: Final = 100_000_000
_NUMBERED: Final = re.compile(r"(.+)_(\d+)")


class _Reader:
    """Reads the signals of some messages of one ECU into their slots."""

    def __init__(self, ecu: Ecu, messages: Sequence[Broadcast]) -> None:
        readers, arrays = ecu.signals(), ecu.arrays()
        slots: list[int] = []
        self._reads: list[Callable[[], Value]] = []
        many: dict[str, tuple[list[int], list[int]]] = {}
        for message in messages:
            for name, slot in message.slots.items():
                numbered = _NUMBERED.fullmatch(name)
                if name in readers:
                    slots.append(slot)
                    self._reads.append(readers[name])
                elif numbered and numbered[1] in arrays:
                    taken, places = many.setdefault(numbered[1], ([], []))
                    taken.append(slot)
                    places.append(int(numbered[2]) - 1)
                else:
                    raise KeyError(f"{message.sender} has no signal {name}")
        self._slots = np.array(slots, dtype=np.intp)
        self._arrays = [(np.array(taken), arrays[name], np.array(places)) for name, (taken, places) in many.items()]

    def into(self, values: Floats) -> None:
        """Writes the present values; what is not available becomes NaN."""
        if self._reads:
            values[self._slots] = [math.nan if (value := read()) is None else value for read in self._reads]
        for slots, read_all, places in self._arrays:
            values[slots] = read_all()[places]


class Buses:
    """Signals in flight between the ECUs of one car.

    Attributes:
        values: physical value by slot as last sent, NaN = not available.
        sent_s: car time at which each message was last on its bus.
    """

    def __init__(self, catalogue: Catalogue, stands_for: Mapping[str, str]) -> None:
        self.catalogue = catalogue
        self.values = np.full(catalogue.size, math.nan)
        self.sent_s = [_NEVER] * len(catalogue.messages)
        self._index = {message.name: message.index for message in catalogue.messages}
        self._index |= {name: self._index[own] for name, own in stands_for.items()}
        self._carrier = {name: message.index for message in catalogue.messages for name in message.slots}
        self._quick: dict[str, _Reader] = {}
        self._whole: dict[str, _Reader] = {}
        self._latched: dict[int, _Reader] = {}

    def connect(self, ecus: Mapping[str, Ecu]) -> None:
        """Joins each message's signals with its sender's values.

        Raises:
            KeyError: a signal of the database that its sender cannot give.
        """
        for name, ecu in ecus.items():
            own = [message for message in self.catalogue.messages if message.sender == name]
            plain = [message for message in own if message.groups == 1]
            self._whole[name] = _Reader(ecu, plain)
            self._quick[name] = _Reader(ecu, [message for message in plain if message.cycle_ns < _SLOW_NS])
            for message in own:
                if message.groups > 1:
                    self._latched[message.index] = _Reader(ecu, [message])

    def take(self, ecu: str, *, quick: bool = False) -> None:
        """Takes an ECU's values as they will be sent; ``quick`` leaves its slow messages as they are."""
        (self._quick if quick else self._whole)[ecu].into(self.values)

    def latch(self, message: int) -> None:
        """Takes all values of a multiplexed message, so that its groups belong together."""
        self._latched[message].into(self.values)

    def latch_all(self) -> None:
        """Takes the values of all multiplexed messages."""
        for reader in self._latched.values():
            reader.into(self.values)

    def hear(self, message: Broadcast, values: Mapping[str, float | None], t_s: float) -> None:
        """A message of the same identifier came from outside: its values stand until the sender's next one."""
        for name, value in values.items():
            slot = message.slots.get(name)
            if slot is not None:
                self.values[slot] = math.nan if value is None else value
        self.sent_s[message.index] = t_s

    def sent_at(self, message: str) -> float | None:
        """When a message was last sent; None when this car has no such message."""
        index = self._index.get(message)
        return None if index is None else self.sent_s[index]

    def index_of(self, message: str) -> int:
        """A message's place in :attr:`sent_s`, -1 when this car has none such."""
        return self._index.get(message, -1)

    def mark(self, messages: Iterable[int], t_s: float) -> None:
        """These messages went out at car time ``t_s``."""
        for index in messages:
            self.sent_s[index] = t_s

    def carried_at(self, signal: str) -> float:
        """When the message that carries a signal was last sent; never, where this car has no such signal."""
        index = self._carrier.get(signal)
        return _NEVER if index is None else self.sent_s[index]

    def value(self, name: str) -> Value:
        """The last value of a signal, None = not available."""
        slot = self.catalogue.slots.get(name)
        value = math.nan if slot is None else float(self.values[slot])
        return None if math.isnan(value) else value

    def has_message(self, name: str) -> bool:
        """Whether this car has a message."""
        return name in self._index
