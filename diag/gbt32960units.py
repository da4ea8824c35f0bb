"""The information units of GB/T 32960.3: type by type, what stands in their bytes, in both editions.

Standard: GB/T 32960.3-2016 §7.2.3 and GB/T 32960.3-2025 (tables of the information units); subclauses unverified.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["ALARMS", "Field", "Unit", "read_login", "read_units"]

ALARMS: Final[Mapping[int, Text]] = dict(
    enumerate(
        (
            Text("temperature difference", "温度差异"),
            Text("battery over-temperature", "电池高温"),
            Text("pack over-voltage", "车载储能装置类型过压"),
            Text("pack under-voltage", "车载储能装置类型欠压"),
            Text("SOC low", "SOC 低"),
            Text("cell over-voltage", "单体电池过压"),
            Text("cell under-voltage", "单体电池欠压"),
            Text("SOC too high", "SOC 过高"),
            Text("SOC jump", "SOC 跳变"),
            Text("storage system mismatch", "可充电储能系统不匹配"),
            Text("poor consistency of the cells", "电池单体一致性差"),
            Text("insulation", "绝缘"),
            Text("DC/DC temperature", "DC-DC 温度"),
            Text("brake system", "制动系统"),
            Text("DC/DC state", "DC-DC 状态"),
            Text("motor controller temperature", "驱动电机控制器温度"),
            Text("high-voltage interlock", "高压互锁状态"),
            Text("motor temperature", "驱动电机温度"),
            Text("storage over-charge", "车载储能装置类型过充"),
            Text("motor over-speed", "驱动电机超速"),
            Text("motor over-current", "驱动电机过流"),
            Text("super-capacitor over-temperature", "超级电容过温"),
            Text("super-capacitor over-voltage", "超级电容过压"),
            Text("battery thermal event", "动力电池热事件"),
            Text("hydrogen leak", "氢气泄漏"),
            Text("hydrogen pressure", "氢系统压力异常"),
            Text("hydrogen temperature", "氢系统温度异常"),
            Text("fuel cell stack over-temperature", "燃料电池电堆超温"),
        )
    )
)
"""Bit of the general alarm flags -> meaning; 19 and above exist in 2025 only."""

_SINCE_2025: Final = 19


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a unit.

    Args:
        name: with the number of its subsystem or motor in front where there are several, ``2.speed``.
        value: physical; None where ``quality`` says why. A list stands for cells or probes, in their order.
        unit: of the value, empty for states.
        quality: ``ok``, ``abnormal`` or ``invalid``; of a list, the worst.
        raw: its bytes.
    """

    name: str
    value: float | str | tuple[float | None, ...] | None
    unit: str
    quality: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Unit:
    """An information unit: its type byte, name, values and bytes."""

    type: int
    name: str
    fields: tuple[Field, ...]
    raw: bytes

    def find(self, name: str) -> Field | None:
        """The value of this name."""
        return next((item for item in self.fields if item.name == name), None)


class _Short(Exception):
    """The data end inside a unit."""


@dataclass(slots=True)
class _Reader:
    """Walks over the data and names what it finds."""

    data: bytes
    at: int = 0
    fields: list[Field] = field(default_factory=list)
    prefix: str = ""

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) < size:
            raise _Short
        self.at += size
        return part

    def number(self, name: str, size: int, scale: float = 1.0, offset: float = 0.0, unit: str = "") -> float | None:
        """A number; its two highest values say "abnormal" and "invalid"."""
        raw = self.take(size)
        value, quality = _physical(raw, scale, offset)
        self.fields.append(Field(self.prefix + name, value, unit, quality, raw))
        return value

    def state(self, name: str, words: Mapping[int, str]) -> None:
        raw = self.take(1)
        quality = {0xFE: "abnormal", 0xFF: "invalid"}.get(raw[0], "ok")
        value = words.get(raw[0], str(raw[0])) if quality == "ok" else None
        self.fields.append(Field(self.prefix + name, value, "", quality, raw))

    def text(self, name: str, size: int) -> None:
        raw = self.take(size)
        shown = raw.rstrip(b"\0 ")
        value = shown.decode("ascii") if shown.isascii() else None
        self.fields.append(Field(self.prefix + name, value, "", "ok" if value is not None else "invalid", raw))

    def count(self, name: str, size: int) -> int:
        """How many follow; a marker means that nothing does."""
        value = self.number(name, size)
        return 0 if value is None else int(value)

    def several(
        self, name: str, count: int, size: int, scale: float = 1.0, offset: float = 0.0, unit: str = ""
    ) -> None:
        raw = self.take(count * size)
        found = [_physical(raw[at : at + size], scale, offset) for at in range(0, len(raw), size)]
        qualities = {quality for _, quality in found}
        worst = next((quality for quality in ("abnormal", "invalid") if quality in qualities), "ok")
        self.fields.append(Field(self.prefix + name, tuple(value for value, _ in found), unit, worst, raw))


def _physical(raw: bytes, scale: float, offset: float) -> tuple[float | None, str]:
    number, most = int.from_bytes(raw, "big"), (1 << 8 * len(raw)) - 1
    if number >= most - 1:
        return None, "invalid" if number == most else "abnormal"
    return round(float(number * scale + offset), 6), "ok"


_ON_OFF: Final = {1: "on", 2: "off"}
_VEHICLE: Final = {1: "on", 2: "off", 3: "other"}
_CHARGE: Final = {1: "charging-parked", 2: "charging-driving", 3: "not-charging", 4: "charge-complete"}
_MODE: Final = {1: "electric", 2: "hybrid", 3: "fuel"}
_MOTOR: Final = {1: "consuming", 2: "generating", 3: "off", 4: "ready"}
_GEARS: Final = {0: "N", 13: "R", 14: "D", 15: "P"}


def _vehicle(reader: _Reader, offset_a: float, *, has_pedals: bool) -> None:
    reader.state("vehicle_state", _VEHICLE)
    reader.state("charge_state", _CHARGE)
    reader.state("mode", _MODE)
    reader.number("speed", 2, 0.1, 0, "km/h")
    reader.number("odometer", 4, 0.1, 0, "km")
    reader.number("voltage", 2, 0.1, 0, "V")
    reader.number("current", 2, 0.1, offset_a, "A")
    reader.number("soc", 1, 1, 0, "%")
    reader.state("dcdc", _ON_OFF)
    gear = reader.take(1)
    is_invalid = gear[0] in (0xFE, 0xFF)
    number = gear[0] & 0x0F
    value = None if is_invalid else _GEARS.get(number, str(number))
    reader.fields.append(Field("gear", value, "", "invalid" if is_invalid else "ok", gear))
    reader.number("insulation", 2, 1, 0, "kΩ")
    if has_pedals:
        reader.number("accelerator", 1, 1, 0, "%")
        reader.number("brake", 1, 1, 0, "%")


def _vehicle_2016(reader: _Reader) -> None:
    _vehicle(reader, -1000, has_pedals=True)


def _vehicle_2025(reader: _Reader) -> None:
    _vehicle(reader, -3000, has_pedals=False)


def _each(reader: _Reader, count: int) -> Iterator[None]:
    """Once per subsystem or motor, whose number then stands before its values' names."""
    for _ in range(count):
        number = reader.take(1)[0]
        reader.prefix = f"{number}."
        yield
        reader.prefix = ""


def _motors_2016(reader: _Reader) -> None:
    for _ in _each(reader, reader.count("motors", 1)):
        reader.state("state", _MOTOR)
        reader.number("controller_temperature", 1, 1, -40, "°C")
        reader.number("speed", 2, 1, -20000, "rpm")
        reader.number("torque", 2, 0.1, -2000, "Nm")
        reader.number("motor_temperature", 1, 1, -40, "°C")
        reader.number("controller_voltage", 2, 0.1, 0, "V")
        reader.number("controller_current", 2, 0.1, -1000, "A")


def _motors_2025(reader: _Reader) -> None:
    for _ in _each(reader, reader.count("motors", 1)):
        reader.state("state", _MOTOR)
        reader.number("controller_temperature", 1, 1, -40, "°C")
        reader.number("speed", 2, 1, -32000, "rpm")
        reader.number("torque", 4, 0.1, -20000, "Nm")
        reader.number("motor_temperature", 1, 1, -40, "°C")


def _fuel_cell_2016(reader: _Reader) -> None:
    reader.number("voltage", 2, 0.1, 0, "V")
    reader.number("current", 2, 0.1, 0, "A")
    reader.number("consumption", 2, 0.01, 0, "kg/100km")
    reader.several("probes", reader.count("probe_count", 2), 1, 1, -40, "°C")
    reader.number("hydrogen_temperature", 2, 0.1, -40, "°C")
    reader.number("hydrogen_temperature_probe", 1)
    reader.number("hydrogen_concentration", 2, 1, 0, "ppm")
    reader.number("hydrogen_concentration_sensor", 1)
    reader.number("hydrogen_pressure", 2, 0.1, 0, "MPa")
    reader.number("hydrogen_pressure_sensor", 1)
    reader.state("dcdc", _ON_OFF)


def _fuel_cell_2025(reader: _Reader) -> None:
    reader.number("hydrogen_temperature", 2, 1, -40, "°C")
    reader.number("hydrogen_temperature_probe", 1)
    reader.number("hydrogen_concentration", 2, 1, 0, "ppm")
    reader.number("hydrogen_concentration_sensor", 1)
    reader.number("hydrogen_pressure", 2, 0.1, 0, "MPa")
    reader.number("hydrogen_pressure_sensor", 1)
    reader.state("dcdc", _ON_OFF)
    reader.number("hydrogen_left", 1, 1, 0, "%")
    reader.number("dcdc_temperature", 1, 1, -40, "°C")


def _engine_2016(reader: _Reader) -> None:
    reader.state("state", _ON_OFF)
    reader.number("speed", 2, 1, 0, "rpm")
    reader.number("consumption", 2, 0.01, 0, "L/100km")


def _engine_2025(reader: _Reader) -> None:
    reader.number("speed", 2, 1, 0, "rpm")


def _position(reader: _Reader, *, has_system: bool) -> None:
    status = reader.take(1)
    is_fixed = not status[0] & 1
    value = "fix" if is_fixed else "no-fix"
    reader.fields.append(Field("status", value, "", "ok" if is_fixed else "invalid", status))
    if has_system:
        reader.state("system", {1: "WGS84", 2: "GCJ02", 3: "other"})
    for name, bit in (("longitude", 4), ("latitude", 2)):
        raw = reader.take(4)
        angle, quality = _physical(raw, -1e-6 if status[0] & bit else 1e-6, 0)
        quality = quality if is_fixed else "invalid"
        reader.fields.append(Field(name, angle if quality == "ok" else None, "°", quality, raw))


def _position_2016(reader: _Reader) -> None:
    _position(reader, has_system=False)


def _position_2025(reader: _Reader) -> None:
    _position(reader, has_system=True)


def _extremes_2016(reader: _Reader) -> None:
    for name in ("highest_cell", "lowest_cell"):
        reader.number(f"{name}_subsystem", 1)
        reader.number(f"{name}_number", 1)
        reader.number(f"{name}_voltage", 2, 0.001, 0, "V")
    for name in ("highest_probe", "lowest_probe"):
        reader.number(f"{name}_subsystem", 1)
        reader.number(f"{name}_number", 1)
        reader.number(f"{name}_temperature", 1, 1, -40, "°C")


def _alarms(reader: _Reader, *, known: int) -> None:
    reader.number("level", 1)
    raw = reader.take(4)
    flags = int.from_bytes(raw, "big")
    if flags >= 0xFFFFFFFE:
        quality = "invalid" if flags == 0xFFFFFFFF else "abnormal"
        reader.fields.append(Field("alarms", None, "", quality, raw))
    else:
        names = [ALARMS[bit].en if bit < known else f"bit {bit}" for bit in range(32) if flags >> bit & 1]
        reader.fields.append(Field("alarms", ", ".join(names), "", "ok", raw))
    for name in ("battery", "motor", "engine", "other"):
        count = reader.count(f"{name}_fault_count", 1)
        codes = reader.take(4 * count)
        shown = " ".join(codes[at : at + 4].hex().upper() for at in range(0, len(codes), 4))
        reader.fields.append(Field(f"{name}_faults", shown, "", "ok", codes))


def _alarms_2016(reader: _Reader) -> None:
    _alarms(reader, known=_SINCE_2025)


def _alarms_2025(reader: _Reader) -> None:
    _alarms(reader, known=len(ALARMS))
    count = reader.count("level_count", 1)
    raw = reader.take(2 * count)
    shown = " ".join(f"{raw[at]}:{raw[at + 1]}" for at in range(0, len(raw), 2))
    reader.fields.append(Field("alarm_levels", shown, "", "ok", raw))


def _cells_2016(reader: _Reader) -> None:
    for _ in _each(reader, reader.count("subsystems", 1)):
        reader.number("voltage", 2, 0.1, 0, "V")
        reader.number("current", 2, 0.1, -1000, "A")
        reader.number("cell_count", 2)
        reader.number("first_cell", 2)
        reader.several("cells", reader.count("cells_here", 1), 2, 0.001, 0, "V")


def _cells_2025(reader: _Reader) -> None:
    for _ in _each(reader, reader.count("subsystems", 1)):
        reader.number("voltage", 2, 0.1, 0, "V")
        reader.number("current", 2, 0.1, -3000, "A")
        reader.several("cells", reader.count("cell_count", 2), 2, 0.001, 0, "V")


def _probes(reader: _Reader) -> None:
    for _ in _each(reader, reader.count("subsystems", 1)):
        reader.several("probes", reader.count("probe_count", 2), 1, 1, -40, "°C")


def _stacks_2025(reader: _Reader) -> None:
    for _ in _each(reader, reader.count("stacks", 1)):
        reader.number("voltage", 2, 0.1, 0, "V")
        reader.number("current", 2, 0.1, 0, "A")
        reader.number("hydrogen_pressure", 2, 0.1, -100, "kPa")
        reader.number("air_pressure", 2, 0.1, -100, "kPa")
        reader.number("air_temperature", 1, 1, -40, "°C")
        reader.several("probes", reader.count("probe_count", 2), 1, 1, -40, "°C")


def _capacitor_2025(reader: _Reader) -> None:
    reader.number("number", 1)
    reader.number("voltage", 2, 0.1, 0, "V")
    reader.number("current", 2, 0.1, -3000, "A")
    reader.several("cells", reader.count("cell_count", 2), 2, 0.001, 0, "V")
    reader.several("probes", reader.count("probe_count", 2), 1, 1, -40, "°C")


def _capacitor_extremes_2025(reader: _Reader) -> None:
    for name in ("highest_cell", "lowest_cell"):
        reader.number(f"{name}_system", 1)
        reader.number(f"{name}_number", 2)
        reader.number(f"{name}_voltage", 2, 0.001, 0, "V")
    for name in ("highest_probe", "lowest_probe"):
        reader.number(f"{name}_system", 1)
        reader.number(f"{name}_number", 2)
        reader.number(f"{name}_temperature", 1, 1, -40, "°C")


def _signature(reader: _Reader) -> None:
    reader.state("kind", {1: "SM2", 2: "RSA", 3: "ECC"})
    for name in ("r", "s"):
        raw = reader.take(int.from_bytes(reader.take(2), "big"))
        reader.fields.append(Field(name, raw.hex().upper(), "", "ok", raw))


_UNITS: Final[Mapping[str, Mapping[int, tuple[str, Callable[[_Reader], None]]]]] = {
    "2016": {
        0x01: ("vehicle", _vehicle_2016),
        0x02: ("motors", _motors_2016),
        0x03: ("fuel_cell", _fuel_cell_2016),
        0x04: ("engine", _engine_2016),
        0x05: ("position", _position_2016),
        0x06: ("extremes", _extremes_2016),
        0x07: ("alarms", _alarms_2016),
        0x08: ("cells", _cells_2016),
        0x09: ("probes", _probes),
    },
    "2025": {
        0x01: ("vehicle", _vehicle_2025),
        0x02: ("motors", _motors_2025),
        0x03: ("fuel_cell", _fuel_cell_2025),
        0x04: ("engine", _engine_2025),
        0x05: ("position", _position_2025),
        0x06: ("alarms", _alarms_2025),
        0x07: ("cells", _cells_2025),
        0x08: ("probes", _probes),
        0x30: ("stacks", _stacks_2025),
        0x31: ("capacitor", _capacitor_2025),
        0x32: ("capacitor_extremes", _capacitor_extremes_2025),
        0xFF: ("signature", _signature),
    },
}
_CUSTOM: Final = range(0x80, 0xFF)


def read_units(edition: str, data: bytes) -> tuple[tuple[Unit, ...], tuple[Text, ...], bytes]:
    """The units of a report, what is wrong, and what was not read."""
    found: list[Unit] = []
    at = 0
    while at < len(data):
        kind = data[at]
        reader = _Reader(data, at + 1)
        name, read = _UNITS[edition].get(kind, ("", None))
        try:
            if read is not None:
                read(reader)
            elif kind in _CUSTOM:
                name = "custom"
                raw = reader.take(int.from_bytes(reader.take(2), "big"))
                reader.fields.append(Field("data", raw.hex().upper(), "", "ok", raw))
            else:
                unknown = Text(
                    f"unit of unknown type 0x{kind:02X}: the rest is not read",
                    f"未知信息类型 0x{kind:02X}：其后数据未解析",
                )
                return tuple(found), (unknown,), data[at:]
        except _Short:
            found.append(Unit(kind, name, tuple(reader.fields), data[at:]))
            cut = Text(f"unit 0x{kind:02X} is cut", f"信息类型 0x{kind:02X} 数据不完整")
            return tuple(found), (cut,), b""
        found.append(Unit(kind, name, tuple(reader.fields), data[at : reader.at]))
        at = reader.at
    return tuple(found), (), b""


def _login(edition: str, reader: _Reader) -> None:
    reader.number("serial", 2)
    reader.text("iccid", 20)
    count = reader.count("storage_count", 1)
    if edition == "2016":
        size = reader.count("code_length", 1)
        codes = count
    else:
        size, codes = 24, sum(reader.take(count))
    for number in range(1, codes + 1):
        reader.text(f"code_{number}", size)


def read_login(edition: str, data: bytes, *, is_logout: bool) -> tuple[Unit, tuple[Text, ...], bytes]:
    """The body of a login or logout behind its time, what is wrong, and what was not read."""
    reader = _Reader(data)
    problems: tuple[Text, ...] = ()
    try:
        if is_logout:
            reader.number("serial", 2)
        else:
            _login(edition, reader)
    except _Short:
        problems = (Text("the message is cut", "报文不完整"),)
    kind, name = (0x04, "logout") if is_logout else (0x01, "login")
    return Unit(kind, name, tuple(reader.fields), data[: reader.at]), problems, data[reader.at :]
