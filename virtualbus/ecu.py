"""One ECU: what all of them have in common.

An ECU knows its own sensors, what it has received from the bus, and nothing else. Its cycle is: measure, send and
receive, control, judge. Diagnostic services read the same state.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Final

from virtualbus.trouble import FaultMemory, MonitorTest, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from virtualbus.buses import Buses
    from virtualbus.chemistry import Floats
    from virtualbus.design import Design
    from virtualbus.network import Node
    from virtualbus.plant import Plant
    from virtualbus.trouble import Did

__all__ = ["Ecu", "Value", "Values", "Watch", "hybrid_data", "s16", "u8", "u16"]

Value = float | int | None
"""A signal's physical value or code; None = not available."""
Values = dict[str, Value]

Watch = tuple[str, str, float, float, float, bool]
"""A partner that must be heard: code, its message, seconds of silence, seconds to fail and to pass, legislated."""

OBD_TYPE_CN_6: Final = 41
FUEL_ELECTRIC: Final = 8
_WAKE_S: Final = 3.0
WARM_UPS_BEFORE: Final = 60
SHARE_SINCE_CLEAR: Final = 0.4
"""The life before: codes were cleared at some service, long ago."""
SUPPLY_LOW_V: Final = 9.5
DEAD_V: Final = 6.5


def u8(value: float) -> bytes:
    """One byte, held inside its range."""
    return bytes([max(0, min(0xFF, round(value)))])


def u16(value: float) -> bytes:
    """Two bytes, big-endian, held inside their range."""
    return max(0, min(0xFFFF, round(value))).to_bytes(2, "big")


def s16(value: float) -> bytes:
    """Two bytes with a sign, big-endian, held inside their range."""
    return max(-0x8000, min(0x7FFF, round(value))).to_bytes(2, "big", signed=True)


class Ecu:
    """Base of all ECUs.

    Args:
        node: its name and diagnostic identifiers.
        identification: F18x data identifiers with their content.
        design: what the car is made of; an ECU reads the flaws of its own sensors from it.
        buses: where it sends and hears.

    Attributes:
        vehicle_info: OBD InfoTypes with their content.
        t_s: car time of the present cycle.
        cut_s: car time at which its bus connector opened.
        is_bus_off: its bus controller has given up and waits.
        error_count: the controller's transmit error counter.
    """

    name: ClassVar[str]
    tests: ClassVar[tuple[MonitorTest, ...]] = ()
    watches: ClassVar[tuple[Watch, ...]] = ()
    status_available: ClassVar[int] = 0x7F
    slow_s: ClassVar[Mapping[bytes, float]] = {}
    """Requests (by their first bytes) that take this ECU longer than P2."""
    is_leisurely: ClassVar[bool] = False
    """Whether every fourth step is enough for it while the past is simulated."""
    common_tests: ClassVar[tuple[MonitorTest, ...]] = (
        MonitorTest("U0073-88", 0.05, 20.0, legislated=False),
        MonitorTest("U3003-16", 1.0, 3.0, legislated=False),
    )

    def __init__(
        self, node: Node, identification: Mapping[int, bytes], design: Design, buses: Buses, rng: np.random.Generator
    ) -> None:
        self.vehicle_info: dict[int, bytes] = {}
        self.request_id = node.request_id
        self.response_id = node.response_id
        self.identification = dict(identification)
        self.design = design
        self.buses = buses
        watched = [watch for watch in self.watches if buses.has_message(watch[1])]
        watching = tuple(MonitorTest(dtc, fail, good, legislated=law) for dtc, _, _, fail, good, law in watched)
        self._watched = [(dtc, buses.index_of(message), after_s) for dtc, message, after_s, *_ in watched]
        self.memory = FaultMemory((*self.tests, *watching, *self.common_tests), self.status_available)
        self.awake = False
        self.t_s = 0.0
        self._woke_s = 0.0
        self.cut_s = math.inf
        self.is_bus_off = False
        self.error_count = 0
        self.free_s = 0.0
        self.was_bus_off = False
        self.low_v = 0.0
        self.ground_v = 0.0
        self._low_gain = 1 + 0.002 * float(rng.standard_normal())
        self._mil_km = 0.0
        self._mil_s = 0.0
        self._uncounted_s = 0.0
        self._last_km: float | None = None
        self.warm_ups = WARM_UPS_BEFORE

    # -- the cycle ----------------------------------------------------------------------------------------------

    def wake(self, t_s: float) -> None:
        """The ignition comes on: an operation cycle begins."""
        self.awake = True
        self.t_s = self._woke_s = t_s
        self.was_bus_off = False
        self.memory.begin_cycle()
        self.warm_ups = min(255, self.warm_ups + 1)

    def sleep(self) -> None:
        """The ignition goes off."""
        self.awake = False
        self.memory.end_cycle()

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Reads the ECU's own sensors; ``dt_s`` seconds have passed since the last time."""
        self.t_s = plant.t_s
        self.low_v = plant.low.volts * self._low_gain - self.ground_v
        self._count_lamp(dt_s)

    def measure_fast(self, plant: Plant) -> None:
        """Reads what must be read in each tick of the bus."""

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """Every signal that this ECU can send, by the database's name."""
        raise NotImplementedError

    def arrays(self) -> Mapping[str, Callable[[], Floats]]:
        """Numbered signals (``CellVoltage_001`` …) by the part of their name before the number."""
        return {}

    def control(self, plant: Plant) -> None:
        """Acts on the car."""

    def judge(self, dt_s: float) -> None:
        """Runs the tests of the ECU's own kind; the state held for ``dt_s`` seconds."""

    def judge_all(self, dt_s: float) -> None:
        """All tests: the ECU's own, its partners, its supply, its bus."""
        self.judge(dt_s)
        if self.t_s - self._woke_s >= _WAKE_S:
            sent_s, newest_s = self.buses.sent_s, self.cut_s
            for dtc, index, after_s in self._watched:
                self.report(dtc, self.t_s - min(sent_s[index], newest_s) > after_s, dt_s)
        self.report("U3003-16", self.low_v < SUPPLY_LOW_V, dt_s)
        self.report("U0073-88", self.was_bus_off, dt_s)
        self.was_bus_off = self.is_bus_off

    # -- for the judgements -------------------------------------------------------------------------------------

    def report(self, dtc: str, failed: bool | None, dt_s: float) -> None:
        """One test's judgement; None when it cannot be judged now."""
        self.memory.report(dtc, failed, dt_s, self.snapshot)

    @property
    def woke_s(self) -> float:
        """Car time of the last waking."""
        return self._woke_s

    def has(self, message: str, within_s: float = 0.5) -> bool:
        """Whether a message was received lately."""
        sent = self.buses.sent_at(message)
        if sent is None or sent < self._woke_s:
            return False
        return self.t_s - (min(self.cut_s, sent)) <= within_s

    def is_lost(self, message: str, after_s: float) -> bool | None:
        """Whether a message stays away; None shortly after waking, when others may still be starting."""
        if self.t_s - self._woke_s < _WAKE_S:
            return None
        return not self.has(message, after_s)

    def signal(self, name: str, message: str, within_s: float = 0.5) -> Value:  # noqa: ARG002 - told for the reader: not every car has that message
        """A received signal, None when the message that carries it is missing."""
        sent = self.buses.carried_at(name)
        if sent < self._woke_s or self.t_s - (min(self.cut_s, sent)) > within_s:
            return None
        return self.buses.value(name)

    # -- for diagnostics ----------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[Did, ...]:
        """What a freeze frame keeps of this moment."""
        kept = []
        for did in self.snapshot_dids():
            content = self.data(did)
            if content is not None:
                kept.append((did, content))
        return tuple(kept)

    def snapshot_dids(self) -> tuple[int, ...]:
        """Identifiers in a freeze frame, in order."""
        return (0xF442, 0xF40D, 0xF4A6)

    def data(self, did: int) -> bytes | None:
        """Content of a data identifier, None when this ECU has none now."""
        if did in self.identification:
            return self.identification[did]
        if did >= 0xF400 and did % 0x20 == 0 and not self.is_legislated_by_uds:
            return None
        if 0xF400 <= did <= 0xF4FF:
            return self.parameter(did & 0xFF)
        if 0xF600 <= did <= 0xF6FF:
            return self.monitor_results(did & 0xFF)
        if 0xF800 <= did <= 0xF8FF:
            return self._information(did & 0xFF)
        reader = self.own_data().get(did)
        return reader() if reader else None

    def _information(self, kind: int) -> bytes | None:
        """An OBD InfoType as data identifier F8xx. Standard: SAE J1979-2 (clause unverified)."""
        if kind % 0x20 == 0:
            return self.support_map(kind, self.info_types())
        counted = self.ratios().get(kind)
        return b"".join(map(u16, counted)) if counted else self.vehicle_info.get(kind)

    def info_types(self) -> tuple[int, ...]:
        """OBD InfoTypes that it has."""
        return (*self.vehicle_info, *self.ratios())

    def ratios(self) -> Mapping[int, tuple[int, ...]]:
        """In-use performance counters by InfoType. Standard: SAE J1979 Annex G."""
        return {}

    def monitors(self) -> Mapping[int, bytes]:
        """Test results by monitor identifier: test, scaling, value, lowest, highest, eight bytes each.

        Standard: SAE J1979 Annex D to F.
        """
        return {}

    def monitor_results(self, number: int) -> bytes | None:
        """The results of one monitor; the support maps stand at 00, 20, 40 and so on."""
        found = self.monitors()
        return self.support_map(number, tuple(found)) if found and number % 0x20 == 0 else found.get(number)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """The maker's identifiers of this ECU."""
        return {}

    def outputs(self) -> Mapping[int, Callable[[bytes | None], bool]]:
        """What a tester may adjust (2F): identifier -> takes a state, None = the ECU's own control again.

        False where the state makes no sense.
        """
        return {}

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """OBD parameters of this ECU by PID. Standard: SAE J1979 (ISO 15031-5) Annex B."""
        return {
            0x01: self.monitor_status,
            0x1C: lambda: bytes([OBD_TYPE_CN_6]),
            0x42: lambda: u16(self.low_v * 1000),
            0x51: lambda: bytes([FUEL_ELECTRIC]),
        }

    def parameter(self, pid: int) -> bytes | None:
        """One OBD parameter; the support maps at 00, 20, 40 … are made from what there is."""
        readers = self.parameters()
        if pid % 0x20 == 0:
            return self.support_map(pid, tuple(readers))
        reader = readers.get(pid)
        return reader() if reader else None

    @staticmethod
    def support_map(base: int, supported: tuple[int, ...]) -> bytes | None:
        """Which of the 32 numbers after ``base`` exist; None when nothing lies there or beyond."""
        if base and not any(number > base for number in supported):
            return None
        bits = 0
        for number in supported:
            if base < number <= base + 0x20:
                bits |= 1 << (base + 0x20 - number)
            elif number > base + 0x20:
                bits |= 1
        return bits.to_bytes(4, "big")

    @property
    def lamp_on(self) -> bool:
        """Whether this ECU asks for the malfunction lamp."""
        return any(code.status & Status.WARNING for code in self.memory.codes.values())

    @property
    def legislated_confirmed(self) -> int:
        """Number of confirmed codes that the OBD services show."""
        return sum(code.test.legislated and bool(code.status & Status.CONFIRMED) for code in self.memory.codes.values())

    @property
    def speaks_obd(self) -> bool:
        """Whether it answers services 01 to 0A: those with an address of ISO 15765-4, in a car that has them."""
        return 0x7E0 <= self.request_id <= 0x7E7 and self.design.vehicle.speaks == "obd"

    @property
    def is_legislated_by_uds(self) -> bool:
        """Whether it gives what the law wants through UDS: F4xx to F8xx by their maps, codes by functional group."""
        return 0x7E0 <= self.request_id <= 0x7E7 and self.design.vehicle.speaks == "uds"

    @property
    def hears_functional(self) -> bool:
        """Whether it listens to 0x7DF. Standard: ISO 15765-4:2021 §10.3 (clause unverified)."""
        return 0x7E0 <= self.request_id <= 0x7E7

    def may_clear(self) -> bool:
        """Codes are not cleared while the car moves, nor when nobody knows whether it does."""
        speed = self.signal("VehicleSpeed", "VCU_Status")
        return speed is not None and speed < 1.0

    def clear(self) -> None:
        """Forgets all codes and what was counted with them."""
        self.memory.clear(self.memory.codes.values())
        self._mil_km = self._mil_s = 0.0
        self.warm_ups = 0
        self.memory.cleared_t_s = self.t_s
        self.memory.cleared_km = self._last_km

    def takes(self, cell: str) -> bool:
        """Whether a program built for these cells can run here."""
        return not cell

    def install(self, version: str, cell: str) -> None:  # noqa: ARG002 - the BMS needs it
        """Starts another program, which says its version."""
        part = self.identification[0xF188].split(b"-SW-")[0]
        self.identification[0xF188] = part + b"-SW-" + version.replace(".", "").encode()
        self.identification[0xF189] = version.encode()
        self.identification[0xF194] = b"S" + self.identification[0xF188]
        self.identification[0xF195] = version.encode() + b".0"

    def lamp_byte(self) -> int:
        """Byte A of PID 01: the lamp and the number of confirmed codes."""
        return min(127, self.legislated_confirmed) | (0x80 if self.lamp_on else 0)

    def monitor_status(self) -> bytes:
        """PID 01. An electric car has none of the monitors of bytes B to D. Standard: SAE J1979."""
        return bytes([self.lamp_byte(), 0, 0, 0])

    def _count_lamp(self, dt_s: float) -> None:
        self._uncounted_s += dt_s
        if self._uncounted_s < 1.0:
            return
        counted_s, self._uncounted_s = self._uncounted_s, 0.0
        km = self.odometer_km()
        lamp_on = self.lamp_on
        if km is not None:
            if self.memory.cleared_km is None:
                self.memory.cleared_km = km * (1 - SHARE_SINCE_CLEAR)
            if lamp_on and self._last_km is not None:
                self._mil_km += km - self._last_km
            self._last_km = km
        if lamp_on:
            self._mil_s += counted_s

    def odometer_km(self) -> float | None:
        """Distance as this ECU knows it."""
        value = self.signal("Odometer", "VCU_Odometer", 3.0)
        return None if value is None else float(value)

    def _speed(self) -> bytes | None:
        value = self.signal("VehicleSpeed", "VCU_Status")
        return None if value is None else u8(value)

    def _odometer(self) -> bytes | None:
        km = self.odometer_km()
        return None if km is None else round(km * 10).to_bytes(4, "big")

    def _ambient(self) -> bytes | None:
        value = self.signal("AmbientTemp", "VCU_Odometer", 3.0)
        return None if value is None else u8(value + 40)


def hybrid_data(volts: Value, amperes: Value) -> bytes | None:
    """PID 9A: pack voltage in 1/64 V and current in 0.1 A, positive = discharge (the sign is unverified)."""
    if volts is None or amperes is None:
        return None
    current = max(-32768, min(32767, round(amperes * 10)))
    return bytes([0x06, 0x00]) + u16(volts * 64) + current.to_bytes(2, "big", signed=True)
