"""The fault memory of one ECU: debouncing, status byte, operation cycles, freeze frames.

A monitor reports "failed", "passed" or "not judged" with the time that this lasted; a fault detection counter turns
that into test results. Everything else follows from test results and operation cycles alone.

Standard: ISO 14229-1:2020 Annex D (status bits), unverified for the aging figures.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Did", "FaultMemory", "MonitorTest", "Status", "TroubleCode", "dtc_from_text"]

Did = tuple[int, bytes]
"""A data identifier with its content."""


class Status:
    """Bits of the DTC status byte, plain integers because every test of every cycle touches them.

    Standard: ISO 14229-1:2020 Annex D.2.
    """

    TEST_FAILED: Final = 0x01
    FAILED_THIS_CYCLE: Final = 0x02
    PENDING: Final = 0x04
    CONFIRMED: Final = 0x08
    NOT_COMPLETED_SINCE_CLEAR: Final = 0x10
    FAILED_SINCE_CLEAR: Final = 0x20
    NOT_COMPLETED_THIS_CYCLE: Final = 0x40
    WARNING: Final = 0x80


_FAILURES: Final = itertools.count(1)
"""Only its order counts."""

CLEARED: Final = Status.NOT_COMPLETED_SINCE_CLEAR | Status.NOT_COMPLETED_THIS_CYCLE
AGING_CYCLES: Final = 40
LAMP_OFF_CYCLES: Final = 3


def dtc_from_text(text: str) -> int:
    """``P0AA6-1A`` as the 24-bit number 0x0AA61A. Standard: ISO 15031-6, SAE J2012-DA."""
    code, _, failure = text.partition("-")
    return "PCBU".index(code[0]) << 22 | int(code[1:2]) << 20 | int(code[2:5], 16) << 8 | int(failure, 16)


_IMMEDIATELY: Final = frozenset(
    ("P0AA6", "P0A0A", "P0AA1", "P0AA4", "P0DE7", "P0A7E", "P0C32", "P0300", "P0A40", "U0111", "U0110", "U0293")
)
_NOW, _AT_NEXT_HALT, _MAINTENANCE = 0x80, 0x40, 0x20
_CLASS_A, _CLASS_B1, _NO_CLASS = 0x02, 0x04, 0x01


@dataclass(frozen=True, slots=True)
class MonitorTest:
    """One test that an ECU runs on what it measures or receives.

    Args:
        dtc: code with failure type, ``P0AA6-1A``.
        fail_s: seconds of failing until the test counts as failed.
        pass_s: seconds of passing until it counts as passed.
        confirm_cycles: operation cycles with a failed test until the code is confirmed.
        legislated: also shown by the OBD services.
    """

    dtc: str
    fail_s: float
    pass_s: float
    confirm_cycles: int = 1
    legislated: bool = True

    @property
    def severity(self) -> int:
        """DTCSeverityMask with the GTR DTC class. Standard: ISO 14229-1:2020 Annex D.3."""
        if self.dtc[:5] in _IMMEDIATELY:
            return _NOW | _CLASS_A
        return _AT_NEXT_HALT | _CLASS_B1 if self.legislated else _MAINTENANCE | _NO_CLASS

    @property
    def readiness_group(self) -> int:
        """Which readiness group it belongs to: 1 for the powertrain, 2 for the network (numbers of our own making)."""
        return 1 if self.dtc[0] == "P" else 2


@dataclass(slots=True)
class TroubleCode:
    """State of one code.

    Attributes:
        counter: fault detection counter, -128 (passed) .. 127 (failed).
        order: its place among all failures of this ECU, counted from 1; 0 = it never failed.
        snapshots: record number (1 = first, 2 = latest occurrence) -> identifiers with their content.
    """

    test: MonitorTest
    number: int
    status: int = CLEARED
    counter: float = 0.0
    occurrences: int = 0
    aging: int = 0
    permanent: bool = False
    snapshots: dict[int, tuple[Did, ...]] = field(default_factory=dict)
    order: int = 0
    _failed_cycles: int = 0
    _passed_cycles: int = 0

    def report(self, failed: bool, dt_s: float, snapshot: Callable[[], tuple[Did, ...]]) -> None:
        """Takes a monitor's judgement that held for ``dt_s`` seconds."""
        if failed:
            self.counter = min(127.0, max(0.0, self.counter) + 127 * dt_s / self.test.fail_s)
            if self.counter >= 127:
                self._fail(snapshot)
        elif self.counter > -128 or self.status & Status.TEST_FAILED:
            self.counter = max(-128.0, min(0.0, self.counter) - 128 * dt_s / self.test.pass_s)
            if self.counter <= -128:
                self.status &= ~(Status.TEST_FAILED | CLEARED)

    def _fail(self, snapshot: Callable[[], tuple[Did, ...]]) -> None:
        if self.status & Status.TEST_FAILED:
            return
        if not self.status & Status.FAILED_THIS_CYCLE:
            self._failed_cycles += 1
        self.status |= Status.TEST_FAILED | Status.FAILED_THIS_CYCLE | Status.PENDING | Status.FAILED_SINCE_CLEAR
        self.status &= ~CLEARED
        self.occurrences = min(255, self.occurrences + 1)
        self.order = next(_FAILURES)
        self.aging = self._passed_cycles = 0
        kept = snapshot()
        self.snapshots.setdefault(1, kept)
        if self.occurrences > 1:
            self.snapshots[2] = kept
        if self._failed_cycles >= self.test.confirm_cycles:
            self.status |= Status.CONFIRMED | Status.WARNING
            self.permanent = self.permanent or self.test.legislated

    def begin_cycle(self) -> None:
        """The ignition comes on: nothing has been tested yet."""
        self.counter = 0.0
        self.status &= ~(Status.TEST_FAILED | Status.FAILED_THIS_CYCLE)
        self.status |= Status.NOT_COMPLETED_THIS_CYCLE

    def end_cycle(self) -> None:
        """The ignition goes off: a cycle that was tested without a failure ages the code."""
        if self.status & Status.FAILED_THIS_CYCLE or self.status & Status.NOT_COMPLETED_THIS_CYCLE:
            return
        self.status &= ~Status.PENDING
        self._failed_cycles = 0
        self._passed_cycles += 1
        if self._passed_cycles >= LAMP_OFF_CYCLES:
            self.status &= ~Status.WARNING
            self.permanent = False
        if self.status & Status.CONFIRMED:
            self.aging += 1
            if self.aging >= AGING_CYCLES:
                self.status &= ~Status.CONFIRMED
                self.snapshots.clear()
                self.occurrences = self.aging = 0

    def clear(self) -> None:
        """Forgets everything but the permanent mark. Standard: ISO 14229-1:2020 §12.2 (clause unverified)."""
        self.status = CLEARED
        self.counter = 0.0
        self.occurrences = self.aging = self._failed_cycles = self._passed_cycles = self.order = 0
        self.snapshots.clear()


class FaultMemory:
    """All codes of one ECU.

    Args:
        tests: what this ECU tests.
        available: DTCStatusAvailabilityMask.
    """

    def __init__(self, tests: Iterable[MonitorTest], available: int) -> None:
        self.codes = {test.dtc: TroubleCode(test, dtc_from_text(test.dtc)) for test in tests}
        self.available = available
        self.recording = True
        self.first_legislated: TroubleCode | None = None
        self.cleared_t_s = 0.0
        self.cleared_km: float | None = None

    def report(self, dtc: str, failed: bool | None, dt_s: float, snapshot: Callable[[], tuple[Did, ...]]) -> None:
        """Passes on a judgement; None means that the conditions for judging are not met."""
        if failed is None or not self.recording:
            return
        code = self.codes[dtc]
        if not failed and code.counter <= -128 and not code.status & (Status.TEST_FAILED | CLEARED):
            return  # it passed before and passes still: by far the most frequent case
        code.report(failed, dt_s, snapshot)
        if self.first_legislated is None and code.test.legislated and code.status & Status.CONFIRMED:
            self.first_legislated = code

    def status_of(self, code: TroubleCode) -> int:
        """The status byte as this ECU shows it: unsupported bits are 0."""
        return code.status & self.available

    def matching(self, mask: int) -> list[TroubleCode]:
        """Codes with any of the bits of ``mask`` set."""
        return [code for code in self.codes.values() if self.status_of(code) & mask]

    def begin_cycle(self) -> None:
        """An operation cycle begins."""
        for code in self.codes.values():
            code.begin_cycle()

    def end_cycle(self) -> None:
        """An operation cycle ends."""
        for code in self.codes.values():
            code.end_cycle()

    def clear(self, codes: Iterable[TroubleCode]) -> None:
        """Clears some codes; a code that fails again comes back by itself."""
        for code in codes:
            code.clear()
            if code is self.first_legislated:
                self.first_legislated = None
