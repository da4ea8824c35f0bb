"""Results of on-board monitors with their limits, how often monitors ran, and how long ago codes were cleared.

Service 06 (and data identifiers F6xx), InfoTypes 08 and 0B of service 09. Pure: bytes in, values out.

Standard: SAE J1979 (ISO 15031-5:2015) Annex D (MID), E (TID), F (unit and scaling), G (InfoTypes);
SAE J1979-DA:2022 for later entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.facts import Text, hex_from_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.facts import Json

__all__ = [
    "SCALINGS",
    "InUsePerformance",
    "MonitorResult",
    "SinceClear",
    "monitor_text",
    "parse_in_use",
    "parse_monitor_results",
    "test_text",
]


@dataclass(frozen=True, slots=True)
class _Scaling:
    factor: float
    unit: str
    offset: float = 0.0
    is_signed: bool = False


_UNSIGNED: Final = {
    0x01: (1, ""), 0x02: (0.1, ""), 0x03: (0.01, ""), 0x04: (0.001, ""), 0x05: (0.0000305, ""), 0x06: (0.000305, ""),
    0x07: (0.25, "rpm"), 0x08: (0.01, "km/h"), 0x09: (1, "km/h"), 0x0A: (0.122, "mV"), 0x0B: (0.001, "V"),
    0x0C: (0.01, "V"), 0x0D: (0.00390625, "mA"), 0x0E: (0.001, "A"), 0x0F: (0.01, "A"), 0x10: (1, "ms"),
    0x11: (100, "ms"), 0x12: (1, "s"), 0x13: (1, "mOhm"), 0x14: (1, "Ohm"), 0x15: (1, "kOhm"), 0x17: (0.01, "kPa"),
    0x18: (0.0117, "kPa"), 0x19: (0.079, "kPa"), 0x1A: (1, "kPa"), 0x1B: (10, "kPa"), 0x1C: (0.01, "deg"),
    0x1D: (0.5, "deg"), 0x1E: (0.0000305, "lambda"), 0x1F: (0.05, "A/F"), 0x20: (0.00390625, ""), 0x21: (1, "mHz"),
    0x22: (1, "Hz"), 0x23: (1, "kHz"), 0x24: (1, "count"), 0x25: (1, "km"), 0x26: (0.1, "mV/ms"), 0x27: (0.01, "g/s"),
    0x28: (1, "g/s"), 0x29: (0.25, "Pa/s"), 0x2A: (0.001, "kg/h"), 0x2B: (1, "switches"), 0x2C: (0.01, "g/cyl"),
    0x2D: (0.01, "mg/stroke"), 0x2E: (1, "bool"), 0x2F: (0.01, "%"), 0x30: (0.001526, "%"), 0x31: (0.001, "L"),
    0x32: (0.0000305, "in"), 0x33: (0.00024414, "lambda"), 0x34: (1, "min"), 0x35: (10, "ms"), 0x36: (0.01, "g"),
    0x37: (0.1, "g"), 0x38: (1, "g"), 0x3A: (0.001, "g"), 0x3B: (0.0001, "g"), 0x3C: (0.1, "us"), 0x3D: (0.01, "mA"),
    0x3E: (0.00006103516, "mm2"), 0x3F: (0.01, "L"), 0x40: (1, "ppm"), 0x41: (0.01, "uA"),
}  # fmt: skip
_SIGNED: Final = {
    0x81: (1, ""), 0x82: (0.1, ""), 0x83: (0.01, ""), 0x84: (0.001, ""), 0x85: (0.0000305, ""), 0x86: (0.000305, ""),
    0x87: (1, "ppm"), 0x8A: (0.122, "mV"), 0x8B: (0.001, "V"), 0x8C: (0.01, "V"), 0x8D: (0.00390625, "mA"),
    0x8E: (0.001, "A"), 0x90: (1, "ms"), 0x96: (0.1, "degC"), 0x99: (0.1, "kPa"), 0x9C: (0.01, "deg"),
    0x9D: (0.5, "deg"), 0xA8: (1, "g/s"), 0xA9: (0.25, "Pa/s"), 0xAD: (0.01, "mg/stroke"), 0xAE: (0.1, "mg/stroke"),
    0xAF: (0.01, "%"), 0xB0: (0.003052, "%"), 0xB1: (2, "mV/s"), 0xFC: (0.01, "kPa"), 0xFD: (0.001, "kPa"),
    0xFE: (0.25, "Pa"),
}  # fmt: skip

SCALINGS: Final[Mapping[int, _Scaling]] = {
    **{number: _Scaling(factor, unit) for number, (factor, unit) in _UNSIGNED.items()},
    0x16: _Scaling(0.1, "degC", -40.0),
    0x39: _Scaling(0.01, "%", -327.68),
    **{number: _Scaling(factor, unit, is_signed=True) for number, (factor, unit) in _SIGNED.items()},
}
"""Unit and scaling identifier -> how 16 bits become a value."""

_BANK_SENSORS: Final = tuple((bank, sensor) for bank in range(1, 5) for sensor in range(1, 5))


def _numbered(first: int, en: str, zh: str, count: int = 4) -> dict[int, Text]:
    return {first + at: Text(en.format(at + 1), zh.format(at + 1)) for at in range(count)}


_MONITOR_TEXTS: Final[Mapping[int, Text]] = {
    **{
        0x01 + at: Text(f"oxygen sensor bank {bank} sensor {sensor}", f"氧传感器 第 {bank} 列第 {sensor} 个")
        for at, (bank, sensor) in enumerate(_BANK_SENSORS)
    },
    **_numbered(0x21, "catalyst bank {}", "催化器 第 {} 列"),
    **_numbered(0x31, "EGR bank {}", "EGR 第 {} 列"),
    **_numbered(0x35, "VVT bank {}", "VVT 第 {} 列"),
    0x39: Text("EVAP leak, cap off or 0.150 inch", "蒸发系统泄漏（油箱盖/3.8 mm）"),
    0x3A: Text("EVAP leak 0.090 inch", "蒸发系统泄漏（2.3 mm）"),
    0x3B: Text("EVAP leak 0.040 inch", "蒸发系统泄漏（1.0 mm）"),
    0x3C: Text("EVAP leak 0.020 inch", "蒸发系统泄漏（0.5 mm）"),
    0x3D: Text("purge flow", "脱附流量"),
    **{
        0x41 + at: Text(f"oxygen sensor heater bank {bank} sensor {sensor}", f"氧传感器加热 第 {bank} 列第 {sensor} 个")
        for at, (bank, sensor) in enumerate(_BANK_SENSORS)
    },
    **_numbered(0x61, "heated catalyst bank {}", "加热催化器 第 {} 列"),
    **_numbered(0x71, "secondary air {}", "二次空气 {}"),
    **_numbered(0x81, "fuel system bank {}", "燃油系统 第 {} 列"),
    **_numbered(0x85, "boost pressure bank {}", "增压压力 第 {} 列", 2),
    **_numbered(0x90, "NOx adsorber bank {}", "NOx 吸附器 第 {} 列", 2),
    **_numbered(0x98, "NOx or SCR catalyst bank {}", "NOx/SCR 催化器 第 {} 列", 2),
    0xA1: Text("misfire, all cylinders", "失火（全部气缸）"),
    **_numbered(0xA2, "misfire cylinder {}", "失火 第 {} 缸", 12),
    **_numbered(0xB0, "particulate filter bank {}", "颗粒捕集器 第 {} 列", 2),
}

_TEST_TEXTS: Final[Mapping[int, Text]] = {
    0x01: Text("rich to lean threshold voltage", "浓变稀阈值电压"),
    0x02: Text("lean to rich threshold voltage", "稀变浓阈值电压"),
    0x03: Text("low sensor voltage for switch time", "切换时间计算低电压"),
    0x04: Text("high sensor voltage for switch time", "切换时间计算高电压"),
    0x05: Text("rich to lean switch time", "浓变稀切换时间"),
    0x06: Text("lean to rich switch time", "稀变浓切换时间"),
    0x07: Text("minimum sensor voltage", "传感器最低电压"),
    0x08: Text("maximum sensor voltage", "传感器最高电压"),
    0x09: Text("time between transitions", "两次跳变间隔"),
    0x0A: Text("sensor period", "传感器周期"),
    0x0B: Text("misfires, average of the last ten driving cycles", "失火次数（最近十个驾驶循环平均）"),
    0x0C: Text("misfires, last or current driving cycle", "失火次数（上一或当前驾驶循环）"),
}


def monitor_text(number: int) -> Text:
    """What a monitor identifier (MID) watches; a maker's own keeps its number."""
    return _MONITOR_TEXTS.get(number) or Text(f"monitor {number:02X}", f"监测项 {number:02X}")


def test_text(number: int) -> Text:
    """What a test identifier (TID) measures; from 80 on it is the maker's own."""
    return _TEST_TEXTS.get(number) or Text(f"test {number:02X}", f"测试 {number:02X}")


@dataclass(frozen=True, slots=True)
class MonitorResult:
    """One test of one monitor.

    Args:
        monitor: MID.
        test: TID.
        scaling: unit and scaling identifier.
        value: in ``unit``; None where the scaling is unknown, and the raw bytes speak.
        minimum: lowest value that passes.
        maximum: highest value that passes.
        raw: the six bytes of value and limits.
    """

    ecu: str
    monitor: int
    test: int
    scaling: int
    value: float | None
    minimum: float | None
    maximum: float | None
    unit: str
    raw: bytes

    @property
    def has_run(self) -> bool:
        """Value and limits that are all zero mean that the test has not run since codes were cleared."""
        return any(self.raw)

    @property
    def is_passed(self) -> bool | None:
        """Within its limits, which are compared as the ECU sent them; None before it has run."""
        if not self.has_run:
            return None
        known = SCALINGS.get(self.scaling)
        signed = known.is_signed if known else self.scaling >= 0x80
        value, low, high = (int.from_bytes(self.raw[at : at + 2], "big", signed=signed) for at in (0, 2, 4))
        return low <= value <= high

    def to_json(self) -> Json:
        """One entry of ``tests``."""
        return {
            "monitor": f"{self.monitor:02X}",
            "test": f"{self.test:02X}",
            "text": {
                "en": f"{monitor_text(self.monitor).en}: {test_text(self.test).en}",
                "zh": f"{monitor_text(self.monitor).zh}：{test_text(self.test).zh}",
            },
            "value": self.value,
            "min": self.minimum,
            "max": self.maximum,
            "unit": self.unit,
            "passed": self.is_passed,
            "raw": hex_from_bytes(self.raw),
        }


def _scaled(two: bytes, known: _Scaling | None) -> float | None:
    if known is None:
        return None
    return round(int.from_bytes(two, "big", signed=known.is_signed) * known.factor + known.offset, 6)


def parse_monitor_results(ecu: str, payload: bytes) -> tuple[tuple[MonitorResult, ...], int]:
    """The results in an answer to service 06 (``46 {MID TID scaling value min max}*``) or to 22 F6xx.

    The identifier form has the MID once, in the identifier; whether its records repeat it the public sources do not
    say, so both are taken: records of nine bytes whose first is the MID, else of eight.

    Returns:
        The results, and how many bytes at the end are no whole record.
    """
    if payload[:1] == b"\x46":
        return _cut(ecu, payload[1:], None)
    if payload[:2] == b"\x62\xf6" and len(payload) > 3:
        monitor, body = payload[2], payload[3:]
        repeats = len(body) % 9 == 0 and all(body[at] == monitor for at in range(0, len(body), 9))
        return _cut(ecu, body, None if repeats else monitor)
    return (), len(payload)


def _cut(ecu: str, body: bytes, monitor: int | None) -> tuple[tuple[MonitorResult, ...], int]:
    size = 9 if monitor is None else 8
    found = []
    for at in range(0, len(body) - size + 1, size):
        record = body[at : at + size]
        mid, rest = (record[0], record[1:]) if monitor is None else (monitor, record)
        known = SCALINGS.get(rest[1])
        value, low, high = (_scaled(rest[2 + 2 * n : 4 + 2 * n], known) for n in range(3))
        unit = known.unit if known else ""
        found.append(MonitorResult(ecu, mid, rest[0], rest[1], value, low, high, unit, bytes(rest[2:8])))
    return tuple(found), len(body) % size


_SPARK: Final = (
    ("catalystB1", Text("catalyst bank 1", "催化器 第 1 列")),
    ("catalystB2", Text("catalyst bank 2", "催化器 第 2 列")),
    ("oxygenSensorB1", Text("oxygen sensor bank 1", "氧传感器 第 1 列")),
    ("oxygenSensorB2", Text("oxygen sensor bank 2", "氧传感器 第 2 列")),
    ("egrOrVvt", Text("EGR or VVT", "EGR 或 VVT")),
    ("secondaryAir", Text("secondary air", "二次空气")),
    ("evaporativeSystem", Text("evaporative system", "蒸发系统")),
    ("secondaryOxygenSensorB1", Text("secondary oxygen sensor bank 1", "后氧传感器 第 1 列")),
    ("secondaryOxygenSensorB2", Text("secondary oxygen sensor bank 2", "后氧传感器 第 2 列")),
    ("airFuelImbalanceB1", Text("air-fuel ratio imbalance bank 1", "空燃比不均 第 1 列")),
    ("airFuelImbalanceB2", Text("air-fuel ratio imbalance bank 2", "空燃比不均 第 2 列")),
    ("particulateFilterB1", Text("particulate filter bank 1", "颗粒捕集器 第 1 列")),
    ("particulateFilterB2", Text("particulate filter bank 2", "颗粒捕集器 第 2 列")),
)
_COMPRESSION: Final = (
    ("nmhcCatalyst", Text("NMHC catalyst", "NMHC 催化器")),
    ("noxCatalyst", Text("NOx catalyst", "NOx 催化器")),
    ("noxAdsorber", Text("NOx adsorber", "NOx 吸附器")),
    ("particulateFilter", Text("particulate filter", "颗粒捕集器")),
    ("exhaustGasSensor", Text("exhaust gas sensor", "排气传感器")),
    ("egrOrVvt", Text("EGR or VVT", "EGR 或 VVT")),
    ("boostPressure", Text("boost pressure", "增压压力")),
    ("fuelSystem", Text("fuel system", "燃油系统")),
)
_RATIOS: Final[Mapping[int, tuple[tuple[str, Text], ...]]] = {0x08: _SPARK, 0x0B: _COMPRESSION}


@dataclass(frozen=True, slots=True)
class InUsePerformance:
    """How often monitors ran to their end, against how often they could have.

    Args:
        conditions: driving cycles that met the general conditions (OBDCOND).
        ignitions: ignition cycles (IGNCNTR).
        monitors: name, text, completions, conditions encountered.
        raw: the counters as received, after the number of items.

    Standard: SAE J1979 Annex G, InfoTypes 08 and 0B; the last four of spark ignition are by the later edition.
    """

    conditions: int
    ignitions: int
    monitors: tuple[tuple[str, Text, int, int], ...]
    raw: bytes

    def to_json(self) -> Json:
        """``in_use_performance``."""
        return {
            "conditions": self.conditions,
            "ignitions": self.ignitions,
            "monitors": [
                {
                    "name": name,
                    "text": text.to_json(),
                    "completed": done,
                    "encountered": met,
                    "ratio": round(done / met, 3) if met else None,
                }
                for name, text, done, met in self.monitors
            ],
            "raw": hex_from_bytes(self.raw),
        }


def parse_in_use(number: int, data: bytes) -> InUsePerformance | None:
    """From what follows the InfoType in the answer: number of items, then the counters; None when cut or of none.

    Data identifiers F808 and F80B may leave the number of items out: an even number of bytes is read without it.
    """
    names = _RATIOS.get(number)
    if names is None:
        return None
    body = data[1:] if len(data) % 2 else data
    counters = [int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2)]
    if len(data) % 2 and data[0] > len(counters):
        return None
    if len(counters) < 4:
        return None
    pairs = zip(counters[2::2], counters[3::2], strict=False)
    monitors = tuple((name, text, done, met) for (name, text), (done, met) in zip(names, pairs, strict=False))
    return InUsePerformance(counters[0], counters[1], monitors, bytes(body))


@dataclass(frozen=True, slots=True)
class SinceClear:
    """How long ago the codes of an ECU were cleared; None = it does not say.

    Args:
        warm_ups: PID 30.
        distance_km: PID 31.
        minutes: PID 4E.
    """

    warm_ups: int | None = None
    distance_km: int | None = None
    minutes: int | None = None

    @property
    def is_known(self) -> bool:
        """The ECU said anything of it."""
        return any(value is not None for value in (self.warm_ups, self.distance_km, self.minutes))

    def to_json(self) -> Json:
        """``since_clear``."""
        return {"warm_ups": self.warm_ups, "distance_km": self.distance_km, "minutes": self.minutes}
