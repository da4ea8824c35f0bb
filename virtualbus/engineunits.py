"""Engine and transmission control of a hybrid, with the emission monitors of OBD-II."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from virtualbus.ecu import Ecu, Value, s16, u8, u16
from virtualbus.trouble import MonitorTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from virtualbus.plant import Plant

__all__ = ["EngineControl", "Gearbox"]

FUEL_HYBRID_GASOLINE: Final = 17
MISFIRE_SHARE: Final = 0.03
TRIM_PERCENT: Final = 20.0
REGULATED_C: Final = 72.0
CONDITION_S: Final = 600.0
_RATIO_S: Final = (420.0, 180.0, 300.0, 900.0, 240.0)
"""Seconds of running until catalyst, oxygen sensor, EGR, EVAP and second oxygen sensor are tested."""
WARM_S: Final = 420.0
_CATALYST, _EVAP, _O2, _O2_HEATER, _EGR = 0x01, 0x04, 0x20, 0x40, 0x80


class EngineControl(Ecu):
    """Speed, air, coolant, mixture; its monitors become ready one after the other while the engine runs."""

    name = "ECM"
    tests = (
        MonitorTest("P0300-00", 10.0, 20.0, confirm_cycles=2),
        MonitorTest("P0128-00", 20.0, 20.0, confirm_cycles=2),
        MonitorTest("P0171-00", 15.0, 30.0, confirm_cycles=2),
    )
    watches = (
        ("U0293-87", "VCU_Status", 0.3, 1.0, 2.0, True),
        ("U0101-87", "TCM_Status", 0.5, 1.0, 2.0, True),
    )

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.rpm = self.torque_nm = self.load = self.air_g_s = self.seen_g_s = 0.0
        self.coolant_c = 20.0
        self.intake_c = 20.0
        self.trim = 0.0
        self.running = False
        self.ran_s = 0.0
        self.run_s = 0.0
        self.fuel_percent = 63.0
        self.misfire = 0.0
        self._strokes = self._misfires = 0.0
        self._ignitions, self._conditions = 412, 260
        self._completions, self._encounters = [141, 230, 188, 96, 205], [270, 270, 270, 270, 270]

    def wake(self, t_s: float) -> None:
        """A new driving cycle: the time that the engine ran begins anew."""
        super().wake(t_s)
        self.run_s = 0.0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Everything but speed and torque."""
        super().measure(plant, dt_s)
        self.measure_fast(plant)
        engine = plant.combustion
        if engine is None:
            return
        self.coolant_c, self.load = engine.coolant_c, engine.load
        self.intake_c = plant.ambient_c + 9.0
        self.air_g_s = engine.air_g_s
        self.seen_g_s = engine.air_g_s * (1 - self.design.engine.air_leak)
        strokes, misfires = engine.strokes - self._strokes, engine.misfires - self._misfires
        self._strokes, self._misfires = engine.strokes, engine.misfires
        if strokes > 1:
            self.misfire += (misfires / strokes - self.misfire) * min(1.0, dt_s / 5.0)
        if self.running:
            # The oxygen sensor shows too much air; the long-term trim learns it.
            needed = (self.air_g_s / max(0.1, self.seen_g_s) - 1) * 100
            self.trim += (needed - self.trim) * min(1.0, dt_s / 30.0)
            self.ran_s += dt_s
            self.run_s += dt_s
            self.fuel_percent = max(0.0, self.fuel_percent - self.air_g_s / 14.6 / 750 / 45 * 100 * dt_s)

    def measure_fast(self, plant: Plant) -> None:
        """Crankshaft speed and torque."""
        engine = plant.combustion
        if engine is not None:
            self.rpm, self.torque_nm = engine.rpm, engine.torque_nm
            self.running = engine.rpm > 500

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """ECM_Engine, ECM_Temps."""
        return {
            "EngineSpeed": lambda: self.rpm,
            "EngineTorque": lambda: self.torque_nm,
            "EngineState": lambda: 2 if self.running else 0,
            "EngineCoolantTemp": lambda: self.coolant_c,
            "IntakeAirTemp": lambda: self.intake_c,
            "MassAirFlow": lambda: self.seen_g_s,
            "FuelLevel": lambda: self.fuel_percent,
        }

    def judge(self, dt_s: float) -> None:
        """Misfire, thermostat, mixture: only while the engine runs."""
        self.report("P0300-00", self.misfire > MISFIRE_SHARE if self.running else None, dt_s)
        warm_by_now = self.running and self.run_s > WARM_S
        self.report("P0128-00", self.coolant_c < REGULATED_C if warm_by_now else None, dt_s)
        self.report("P0171-00", self.trim > TRIM_PERCENT if self.running and self.coolant_c > 40 else None, dt_s)

    def clear(self) -> None:
        """The monitors begin anew."""
        super().clear()
        self.ran_s = 0.0

    def sleep(self) -> None:
        """What ran to its end in this driving cycle is counted."""
        super().sleep()
        self._ignitions += 1
        self._conditions += self.run_s >= CONDITION_S
        for number, needed_s in enumerate(_RATIO_S):
            self._encounters[number] += self.run_s > 0
            self._completions[number] += self.run_s >= needed_s

    def ratios(self) -> Mapping[int, tuple[int, ...]]:
        """Spark ignition: catalyst and sensors of bank 1, EGR, EVAP; nothing of bank 2.

        Standard: SAE J1979 Annex G, InfoType 08.
        """
        pairs = [0] * 18
        for slot, done, met in zip((0, 2, 4, 6, 7), self._completions, self._encounters, strict=True):
            pairs[2 * slot : 2 * slot + 2] = [done, met]
        return {0x08: (self._conditions, self._ignitions, *pairs)}

    def monitors(self) -> Mapping[int, bytes]:
        """Misfires of this cycle in counts (A1/0C), long-term trim in 0.01 % as the maker's own test (81/80)."""
        share, most = round(self.misfire * 1000), round(MISFIRE_SHARE * 1000)
        trim, limit = round(self.trim * 100), round(TRIM_PERCENT * 100)
        return {
            0xA1: bytes([0x0C, 0x24]) + u16(share) + u16(0) + u16(most),
            0x81: bytes([0x80, 0xAF]) + s16(trim) + s16(-limit) + s16(limit),
        }

    def _incomplete(self) -> int:
        """Byte D of PID 01: what has not run to its end since the codes were cleared."""
        needs = {_O2_HEATER: 60.0, _O2: 180.0, _EGR: 300.0, _CATALYST: 420.0, _EVAP: 900.0}
        return sum(bit for bit, seconds in needs.items() if self.ran_s < seconds)

    def monitor_status(self) -> bytes:
        """Spark ignition; misfire, fuel, components; catalyst, EVAP, O2, O2 heater, EGR/VVT.

        Standard: SAE J1979 PID 01.
        """
        supported = _CATALYST | _EVAP | _O2 | _O2_HEATER | _EGR
        continuous = 0x07 | (0x30 if self.ran_s < 10 else 0)
        return bytes([self.lamp_byte(), continuous, supported, self._incomplete()])

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """The classic parameters of an engine."""
        own = {
            0x03: lambda: bytes([2 if self.running and self.coolant_c > 40 else 1, 0]),
            0x04: lambda: u8(self.load * 255),
            0x05: lambda: u8(self.coolant_c + 40),
            0x06: lambda: u8(128),
            0x07: lambda: u8((self.trim + 100) * 1.28),
            0x0B: lambda: u8(30 + 70 * self.load),
            0x0C: lambda: u16(self.rpm * 4),
            0x0D: self._speed,
            0x0E: lambda: u8((12 + 64) * 2),
            0x0F: lambda: u8(self.intake_c + 40),
            0x10: lambda: u16(self.seen_g_s * 100),
            0x11: lambda: u8((0.12 + 0.6 * self.load) * 255),
            0x13: lambda: b"\x03",
            0x15: lambda: bytes([90, 0xFF]),
            0x1F: lambda: u16(self.run_s),
            0x21: lambda: u16(self._mil_km),
            0x2F: lambda: u8(self.fuel_percent * 2.55),
            0x30: lambda: u8(self.warm_ups),
            0x33: lambda: u8(100),
            0x46: self._ambient,
            0x5C: lambda: u8(self.coolant_c + 44),
            0xA6: self._odometer,
        }
        return {**super().parameters(), **own, 0x51: lambda: bytes([FUEL_HYBRID_GASOLINE])}

    def snapshot_dids(self) -> tuple[int, ...]:
        """The regulated freeze frame."""
        return (0xF403, 0xF404, 0xF405, 0xF406, 0xF407, 0xF40B, 0xF40C, 0xF40D, 0xF410, 0xF41F, 0xF442, 0xF4A6)


class Gearbox(Ecu):
    """The hybrid transmission: one gear and a clutch."""

    name = "TCM"
    is_leisurely = True
    tests = (MonitorTest("P0218-00", 5.0, 20.0),)
    watches = (
        ("U0100-87", "ECM_Engine", 0.3, 1.0, 2.0, True),
        ("U0293-87", "VCU_Status", 0.3, 1.0, 2.0, True),
    )

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.engaged = False
        self.slip_rpm = 0.0
        self.temperature_c = 20.0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Clutch and oil."""
        super().measure(plant, dt_s)
        engine = plant.combustion
        self.engaged = engine is not None and engine.rpm > 900 and plant.speed_kmh > 5
        self.slip_rpm = 12.0 if self.engaged else 0.0
        self.temperature_c = plant.loops.drive_c + 6.0

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """TCM_Status."""
        return {
            "TransmissionGear": lambda: int(self.engaged),
            "ClutchSlip": lambda: self.slip_rpm,
            "TransmissionTemp": lambda: self.temperature_c,
        }

    def judge(self, dt_s: float) -> None:
        """Oil temperature."""
        self.report("P0218-00", self.temperature_c > 130.0, dt_s)

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """Speed and distance as received."""
        return {**super().parameters(), 0x0D: self._speed, 0xA6: self._odometer}
