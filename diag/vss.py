"""Names of the Vehicle Signal Specification for what we know: figures of a report, signals of databases.

The table is ours, made from the specification's facts (path, unit, sign); it holds only what means the same on both
sides. A signal of a database that we wrote is told by its name; of any other database the traction battery's state of
charge and voltage are, by name and unit. A current keeps to the specification's sign (positive flows into the battery)
and is named only where we know the database's own.

Standard: COVESA Vehicle Signal Specification 6.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from diag.batterynames import find_battery_signals
from diag.facts import EcuRole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbc.database import Database
    from diag.facts import BatteryState, Json
    from diag.samples import Series
    from diag.vehiclereport import VehicleReport

__all__ = ["VSS_VERSION", "VssName", "vss_from_battery", "vss_from_report", "vss_from_series", "vss_names"]

VSS_VERSION: Final = "6.0"

_BATTERY: Final = "Vehicle.Powertrain.TractionBattery"
_OWN: Final = "huizhen_"
"""Databases whose signals we named ourselves, and whose signs we know."""


@dataclass(frozen=True, slots=True)
class VssName:
    """What the specification calls a signal.

    Args:
        path: in the tree.
        unit: of the specification.
        scale: from our unit and sign to the specification's.
    """

    path: str
    unit: str
    scale: float = 1.0

    def value(self, ours: float) -> float:
        """The number that the specification wants; rounded to hide what scaling adds to a decimal number."""
        return ours if self.scale == 1 else round(ours * self.scale, 9)


def _wheels(ours: str, theirs: str, unit: str) -> dict[str, VssName]:
    corners = {"FL": "Row1.Wheel.Left", "FR": "Row1.Wheel.Right", "RL": "Row2.Wheel.Left", "RR": "Row2.Wheel.Right"}
    return {
        f"{ours}_{ending}": VssName(f"Vehicle.Chassis.Axle.{corner}.{theirs}", unit)
        for ending, corner in corners.items()
    }


_SIGNALS: Final[Mapping[str, VssName]] = {
    "VehicleSpeed": VssName("Vehicle.Speed", "km/h"),
    "Odometer": VssName("Vehicle.TraveledDistance", "m", 1000),
    "AmbientTemp": VssName("Vehicle.Exterior.AirTemperature", "Celsius"),
    "LowVoltage": VssName("Vehicle.LowVoltageBattery.CurrentVoltage", "V"),
    "AcceleratorPedal": VssName("Vehicle.Chassis.Accelerator.PedalPosition", "percent"),
    "MotorSpeed": VssName("Vehicle.Powertrain.ElectricMotor.Speed", "rpm"),
    "MotorTorque": VssName("Vehicle.Powertrain.ElectricMotor.Torque", "Nm"),
    "MotorTemp": VssName("Vehicle.Powertrain.ElectricMotor.Temperature", "Celsius"),
    "PackVoltage": VssName(f"{_BATTERY}.CurrentVoltage", "V"),
    "PackCurrent": VssName(f"{_BATTERY}.CurrentCurrent", "A", -1),
    "PackPower": VssName(f"{_BATTERY}.CurrentPower", "W", -1000),
    "StateOfCharge": VssName(f"{_BATTERY}.StateOfCharge.Current", "percent"),
    "EnergyLeft": VssName(f"{_BATTERY}.StateOfCharge.CurrentEnergy", "kWh"),
    "StateOfHealth": VssName(f"{_BATTERY}.StateOfHealth", "percent"),
    "CellVoltageMin": VssName(f"{_BATTERY}.CellVoltage.Min", "V"),
    "CellVoltageMax": VssName(f"{_BATTERY}.CellVoltage.Max", "V"),
    "HottestProbe": VssName(f"{_BATTERY}.Temperature.Max", "Celsius"),
    "ColdestProbe": VssName(f"{_BATTERY}.Temperature.Min", "Celsius"),
    "MeanProbe": VssName(f"{_BATTERY}.Temperature.Average", "Celsius"),
    "ChargerTemp": VssName(f"{_BATTERY}.Charging.Temperature", "Celsius"),
    "DcdcTemp": VssName(f"{_BATTERY}.DCDC.Temperature", "Celsius"),
    "RangeShown": VssName(f"{_BATTERY}.Range", "m", 1000),
    "EngineSpeed": VssName("Vehicle.Powertrain.CombustionEngine.Speed", "rpm"),
    "EngineTorque": VssName("Vehicle.Powertrain.CombustionEngine.Torque", "Nm"),
    "EngineCoolantTemp": VssName("Vehicle.Powertrain.CombustionEngine.EngineCoolant.Temperature", "Celsius"),
    "MassAirFlow": VssName("Vehicle.Powertrain.CombustionEngine.MAF", "g/s"),
    "FuelLevel": VssName("Vehicle.Powertrain.FuelSystem.RelativeLevel", "percent"),
    **_wheels("WheelSpeed", "Speed", "km/h"),
    **_wheels("TyrePressure", "Tire.Pressure", "kPa"),
    **_wheels("TyreTemp", "Tire.AirTemperature", "Celsius"),
}


@lru_cache(maxsize=64)
def _names_of(signals: tuple[tuple[str, str, str], ...], is_own: bool) -> Mapping[str, VssName]:
    names: dict[str, VssName] = {}
    taken: set[str] = set()

    def give(message: str, signal: str, name: VssName) -> None:
        if name.path not in taken:  # a second sender of the same thing is not the same value
            taken.add(name.path)
            names[f"{message}.{signal}"] = name

    if is_own:
        for message, signal, _ in signals:
            if signal in _SIGNALS:
                give(message, signal, _SIGNALS[signal])
        return names
    found = find_battery_signals({signal: unit for _, signal, unit in signals})
    if found is None:
        return names
    for message, signal, _ in signals:
        if signal == found.soc:
            give(message, signal, VssName(f"{_BATTERY}.StateOfCharge.Current", "percent"))
        elif found.pack_v is not None and signal == found.pack_v[0]:
            give(message, signal, VssName(f"{_BATTERY}.CurrentVoltage", "V", found.pack_v[1]))
    return names


def vss_names(database: Database) -> Mapping[str, VssName]:
    """``Message.Signal`` of a database -> its name; each name once, and no entry for what has none."""
    signals = tuple(
        (message.name, signal.name, signal.unit) for message in database.messages for signal in message.signals
    )
    return _names_of(signals, database.name.startswith(_OWN))


def vss_from_series(databases: Iterable[Database], series: Mapping[str, Series]) -> Json:
    """The newest value of each signal that has a name; a signal without a value now has no entry."""
    values: Json = {}
    for database in databases:
        for full, name in vss_names(database).items():
            item = series.get(full) or series.get(full.partition(".")[2])
            if item is not None and len(item.values) and bool(item.valid[-1]):
                values.setdefault(name.path, name.value(float(item.values[-1])))
    return values


def vss_from_battery(battery: BatteryState) -> Json:
    """The figures of a traction battery that are known; cells count from 0, as the specification has it."""
    cells = {at: volts for at, volts in enumerate(battery.cell_v) if volts is not None}
    probes = [celsius for celsius in battery.temperatures_c if celsius is not None]
    knows_sign = all(name.startswith(_OWN) for name in battery.source.removeprefix("broadcast:").split(","))
    values: dict[str, Any] = {
        "StateOfCharge.Current": battery.soc_percent,
        "StateOfHealth": battery.soh.get("percent") if battery.soh else None,
        "CurrentVoltage": battery.pack_v,
        "CurrentCurrent": -battery.current_a if knows_sign and battery.current_a is not None else None,
    }
    if cells:
        lowest, highest = min(cells, key=cells.__getitem__), max(cells, key=cells.__getitem__)
        values |= {
            "CellVoltage.Min": cells[lowest],
            "CellVoltage.IdMin": lowest,
            "CellVoltage.Max": cells[highest],
            "CellVoltage.IdMax": highest,
            "CellVoltage.CellVoltages": list(battery.cell_v),
        }
    if probes:
        values |= {
            "Temperature.Min": min(probes),
            "Temperature.Max": max(probes),
            "Temperature.Average": round(sum(probes) / len(probes), 2),
        }
    return {f"{_BATTERY}.{name}": value for name, value in values.items() if value is not None}


def vss_from_report(report: VehicleReport) -> Json:
    """What a report knows, by the specification's names and in its units: path -> value.

    The codes are those that stand against the car now. What is not known has no entry.
    """
    vehicle = report.vehicle
    values: dict[str, Any] = {
        "Vehicle.VehicleIdentification.VIN": vehicle.vin,
        "Vehicle.VehicleIdentification.Brand": vehicle.make,
        "Vehicle.VehicleIdentification.Model": vehicle.model,
        "Vehicle.VehicleIdentification.Year": vehicle.model_year,
    }
    if any(ecu.codes_read for ecu in report.ecus):
        faults = [dtc for dtc in report.dtcs if dtc.is_fault]
        bms = {ecu.address for ecu in report.ecus if ecu.role is EcuRole.BMS and ecu.codes_read}
        codes = list(dict.fromkeys(dtc.code for dtc in faults if dtc.spn is None))  # the list wants SAE J2012's form
        values["Vehicle.Diagnostics.DTCList"] = codes
        values["Vehicle.Diagnostics.DTCCount"] = len(codes)
        if bms:
            values[f"{_BATTERY}.ErrorCodes"] = [dtc.display for dtc in faults if dtc.ecu in bms]
    if report.battery is not None:
        values |= vss_from_battery(report.battery)
    return {path: value for path, value in values.items() if value is not None}
