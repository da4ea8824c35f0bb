"""What goes wrong on the way between tester and ECU: delay, jitter, loss, doubles, silence, gateways, storms.

These are faults of the transport, not of the car: its codes do not change, only the talk with it gets harder. The draws
come from the car's seed, so that the same requests at the same times meet the same trouble.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from virtualbus.transport import Frame

__all__ = ["TRANSPORT_KINDS", "TransportFault", "Wire"]

_MS: Final = 1_000_000

TRANSPORT_KINDS: Final[Mapping[str, Mapping[str, tuple[float, float, float]]]] = {
    "delay": {"ms": (0.0, 5_000.0, 80.0)},
    "jitter": {"ms": (0.0, 5_000.0, 60.0)},
    "loss": {"share": (0.0, 1.0, 0.05)},
    "duplicate": {"share": (0.0, 1.0, 0.1)},
    "bus-off": {"every_s": (0.5, 3_600.0, 4.0), "lasts_s": (0.05, 60.0, 0.8)},
    "late-flow-control": {"ms": (0.0, 5_000.0, 400.0)},
    "pending-storm": {"count": (1.0, 100.0, 6.0), "gap_ms": (1.0, 4_900.0, 60.0)},
    "security-lock": {"seconds": (1.0, 3_600.0, 10.0)},
    "asleep": {"wake_ms": (0.0, 60_000.0, 900.0)},
    "gateway-filter": {},
}
"""Kind -> its figures: lowest, highest, default. Every kind takes ``ecu``; without it all ECUs are meant."""


@dataclass(frozen=True, slots=True)
class TransportFault:
    """One trouble of a scenario.

    Args:
        kind: of :data:`TRANSPORT_KINDS`.
        ecu: whose talk it disturbs, None = everybody's.
        figures: all of them, defaults included.
    """

    kind: str
    ecu: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    def meets(self, ecu: str) -> bool:
        """Whether an ECU is meant."""
        return self.ecu is None or self.ecu == ecu


class Wire:
    """The way of diagnostic frames between the bus and the ECUs.

    Args:
        faults: of the scenario.
        rng: draws losses, doubles and jitter.
    """

    def __init__(self, faults: tuple[TransportFault, ...], rng: np.random.Generator) -> None:
        self._faults = faults
        self._rng = rng
        self._in: deque[tuple[int, str, Frame]] = deque()
        self._out: deque[tuple[int, str, Frame]] = deque()
        self._last: dict[tuple[str, bool], int] = {}
        self._woken: dict[str, int] = {}
        self._began: int | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is disturbed at all."""
        return not self._faults

    @property
    def hides_broadcast(self) -> bool:
        """A gateway lets diagnostics through and nothing else."""
        return any(fault.kind == "gateway-filter" and fault.ecu is None for fault in self._faults)

    def of(self, kind: str, ecu: str) -> TransportFault | None:
        """The first fault of a kind that meets an ECU."""
        return next((fault for fault in self._faults if fault.kind == kind and fault.meets(ecu)), None)

    def _is_cut(self, ecu: str, now_ns: int) -> bool:
        """Filtered by the gateway, or in one of its bus-off times."""
        if any(fault.kind == "gateway-filter" and fault.ecu == ecu for fault in self._faults):
            return True
        if self._began is None:
            self._began = now_ns
        fault = self.of("bus-off", ecu)
        if fault is None:
            return False
        since_s = (now_ns - self._began) / 1e9
        return since_s % fault.figures["every_s"] > fault.figures["every_s"] - fault.figures["lasts_s"]

    def _is_asleep(self, ecu: str, now_ns: int) -> bool:
        """The first frame wakes an ECU that sleeps; until it is awake it hears nothing."""
        fault = self.of("asleep", ecu)
        if fault is None:
            return False
        woken = self._woken.setdefault(ecu, now_ns)
        return now_ns - woken < fault.figures["wake_ms"] * _MS

    def _times(self, ecu: str, frame: Frame, now_ns: int, *, outward: bool) -> list[int]:
        """When a frame arrives: not at all, once or twice."""
        if self._is_cut(ecu, now_ns) or (not outward and self._is_asleep(ecu, now_ns)):
            return []
        loss = self.of("loss", ecu)
        if loss is not None and float(self._rng.random()) < loss.figures["share"]:
            return []
        delay_ms = 0.0
        if (fault := self.of("delay", ecu)) is not None:
            delay_ms += fault.figures["ms"]
        if (fault := self.of("jitter", ecu)) is not None:
            delay_ms += fault.figures["ms"] * float(self._rng.random())
        late = self.of("late-flow-control", ecu)
        if late is not None and outward and frame.data and frame.data[0] >> 4 == 3:
            delay_ms += late.figures["ms"]
        # Frames of one sender do not overtake each other on a bus.
        at_ns = max(now_ns + round(delay_ms * _MS), self._last.get((ecu, outward), 0))
        self._last[ecu, outward] = at_ns
        double = self.of("duplicate", ecu)
        twice = double is not None and float(self._rng.random()) < double.figures["share"]
        return [at_ns, at_ns] if twice else [at_ns]

    def push(self, ecu: str, frame: Frame, now_ns: int, *, outward: bool) -> None:
        """A frame sets out to or from an ECU."""
        line = self._out if outward else self._in
        line.extend((at_ns, ecu, frame) for at_ns in self._times(ecu, frame, now_ns, outward=outward))

    def arrived(self, now_ns: int, *, outward: bool) -> list[tuple[str, Frame]]:
        """Frames whose time has come."""
        line = self._out if outward else self._in
        due = [item for item in line if item[0] <= now_ns]
        if due:
            left = [item for item in line if item[0] > now_ns]
            line.clear()
            line.extend(left)
        return [(ecu, frame) for _, ecu, frame in sorted(due, key=lambda item: item[0])]

    def next_ns(self) -> int | None:
        """When the next frame arrives."""
        return min((item[0] for line in (self._in, self._out) for item in line), default=None)
