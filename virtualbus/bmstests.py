"""What a BMS judges of its pack: the limits, and the tests on its own readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from virtualbus.trouble import MonitorTest, Status

if TYPE_CHECKING:
    from virtualbus.bms import Bms
    from virtualbus.chemistry import Floats

__all__ = ["BMS_TESTS", "BmsTests"]

LOW_BELOW_MEDIAN_V: Final = 0.080
SPREAD_V: Final = 0.120
OPPOSED_V: Final = 0.040
OPPOSED_SUM_V: Final = 0.025
INSULATION_OHM_PER_V: Final = 100.0
HOT_C: Final = 55.0
SUM_MISMATCH_V: Final = 6.0
OPEN_CURRENT_A: Final = 1.5
PROBE_OPEN_C: Final = -39.0
PROBES_APART_C: Final = 5.0
MODULE_WARMER_K: Final = 6.0
CONTACT_V: Final = 4.0
CONTACT_A: Final = 60.0
STEP_A: Final = 45.0
BLOCK_SHARE: Final = 2.6
"""How many times the pack's median resistance a cell or its joint may show."""
REST_FOR_PROBES_S: Final = 4 * 3600.0
AGED_SHARE: Final = 0.70
_MEMORY: Final = 0.25

BMS_TESTS: Final = (
    MonitorTest("P0DE6-16", 4.0, 6.0),
    MonitorTest("P0DE7-17", 2.0, 6.0),
    MonitorTest("P0BBD-85", 4.0, 6.0),
    MonitorTest("P0B3C-64", 3.0, 6.0),
    MonitorTest("P0B23-1B", 6.0, 20.0),
    MonitorTest("P0DAC-93", 0.1, 0.1),
    MonitorTest("P0AA6-1A", 8.0, 12.0),
    MonitorTest("P0A7E-4B", 5.0, 20.0),
    MonitorTest("P0A9C-64", 2.0, 4.0),
    MonitorTest("P0A9D-14", 1.0, 4.0),
    MonitorTest("P0C32-92", 40.0, 40.0),
    MonitorTest("P0ABB-64", 4.0, 6.0),
    MonitorTest("P0AC0-64", 0.2, 0.2),
    MonitorTest("P0AA1-73", 0.1, 0.1),
    MonitorTest("P0AA4-73", 0.1, 0.1),
    MonitorTest("P0AA0-92", 3.0, 10.0),
    MonitorTest("P0AA2-72", 0.5, 2.0),
    MonitorTest("P0C78-63", 0.2, 0.2),
    MonitorTest("P0A7F-92", 1.0, 1.0, legislated=False),
)


class BmsTests:
    """Runs the tests of one BMS on its readings."""

    def __init__(self, bms: Bms) -> None:
        self._bms = bms
        self._window = bms.software.cell
        self.restart()

    def restart(self) -> None:
        """Forgets the last sample: the ECU has slept."""
        self._last_v: Floats | None = None
        self._last_a = 0.0
        self._ohm: Floats | None = None

    def run(self, dt_s: float) -> None:
        """One round; the readings held for ``dt_s`` seconds."""
        bms = self._bms
        self._cells(dt_s)
        self._blocks(dt_s)
        self._temperatures(dt_s)
        self._switches(dt_s)
        report = bms.report
        report("P0AA6-1A", bms.insulation_ohm < INSULATION_OHM_PER_V * bms.pack_v, dt_s)
        report("P0ABB-64", abs(bms.pack_v - float(bms.cells_v.sum())) > SUM_MISMATCH_V, dt_s)
        report("P0DAC-93", None if bms.bleed_test is None else not bms.bleed_test, dt_s)
        report("P0A7F-92", bms.learned_soh < AGED_SHARE, dt_s)

    def _cells(self, dt_s: float) -> None:
        bms = self._bms
        if bms.bleed_test is None:
            return  # the readings are those of the balancing resistors' own test
        cells = bms.cells_v
        ordered = np.sort(cells)
        away = cells - ordered[len(ordered) // 2]
        pairs = np.minimum(np.abs(away[:-1]), np.abs(away[1:]))
        opposed = (away[:-1] * away[1:] < 0) & (np.abs(away[:-1] + away[1:]) < OPPOSED_SUM_V) & (pairs > OPPOSED_V)
        implausible = bool(opposed.any())
        bms.report("P0B3C-64", implausible, dt_s)
        if implausible:
            # Two readings that cannot be believed say nothing about their cells.
            believed = np.ones(len(cells), dtype=bool)
            believed[:-1] &= ~opposed
            believed[1:] &= ~opposed
            ordered = np.sort(cells[believed])
        low, high = float(ordered[0]), float(ordered[-1])
        median = float(ordered[len(ordered) // 2])
        bms.report("P0DE6-16", low < self._window.low_v or median - low > LOW_BELOW_MEDIAN_V, dt_s)
        bms.report("P0DE7-17", high > self._window.high_v, dt_s)
        bms.report("P0BBD-85", high - low > SPREAD_V, dt_s)

    def _blocks(self, dt_s: float) -> None:
        """A cell whose voltage answers to current much more than its neighbours': its own or its joint's resistance."""
        bms = self._bms
        if bms.bleed_test is None:
            self._last_v = None
            return
        if self._last_v is not None:
            step_a = bms.current_a - self._last_a
            if abs(step_a) > STEP_A:
                ohm = (self._last_v - bms.cells_v) / step_a
                share = ohm / max(1e-5, float(np.sort(ohm)[len(ohm) // 2]))
                self._ohm = share if self._ohm is None else self._ohm + _MEMORY * (share - self._ohm)
        self._last_v, self._last_a = bms.cells_v, bms.current_a
        bms.report("P0B23-1B", None if self._ohm is None else float(self._ohm.max()) > BLOCK_SHARE, dt_s)

    def _temperatures(self, dt_s: float) -> None:
        bms = self._bms
        probes = bms.temperatures_c
        open_probe = float(probes.min()) < PROBE_OPEN_C
        bms.report("P0A9D-14", open_probe, dt_s)
        bms.report("P0A7E-4B", float(probes.max()) > HOT_C, dt_s)
        ordered = np.sort(probes)
        median = float(ordered[len(ordered) // 2])
        if bms.rested_s >= REST_FOR_PROBES_S and bms.t_s - bms.woke_s < 20.0 and not open_probe:
            # After a night all modules are as warm as each other.
            bms.report("P0A9C-64", bool(np.abs(probes - median).max() > PROBES_APART_C), dt_s)
        flowing = bms.contactors.name == "CLOSED"
        doubtful = open_probe or bool(bms.memory.codes["P0A9C-64"].status & Status.CONFIRMED)
        bms.report(
            "P0C32-92", float(ordered[-1]) - median > MODULE_WARMER_K if flowing and not doubtful else None, dt_s
        )

    def _switches(self, dt_s: float) -> None:
        bms = self._bms
        state = bms.contactors.name
        waiting = state in ("OPEN", "PRECHARGE") and bms.stage != "charge" and bms.since_s > 0.05
        bms.report("P0AC0-64", abs(bms.current_a) > OPEN_CURRENT_A if waiting else None, dt_s)
        tried = state == "CLOSED" or bool(bms.welded) or bms.stage == "charge"
        bms.report("P0AA4-73", bms.welded == "negative" if tried else None, dt_s)
        bms.report("P0AA1-73", bms.welded == "positive" if tried else None, dt_s)
        failed = {"FAULT": not bms.welded, "CLOSED": False}.get(state)
        bms.report("P0C78-63", failed, dt_s)
        if state != "CLOSED" or bms.since_s < 0.5:
            bms.report("P0AA0-92", None, dt_s)
            return
        drop_v = bms.pack_v - bms.link_v
        # Closed by command, yet the link sags away from the pack: a contact that does not meet.
        bms.report("P0AA2-72", drop_v > 0.1 * bms.pack_v, dt_s)
        loaded = abs(bms.current_a) > CONTACT_A
        bms.report("P0AA0-92", CONTACT_V < abs(drop_v) < 0.1 * bms.pack_v if loaded else None, dt_s)
