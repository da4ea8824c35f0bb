"""OBD-II readiness: which diagnostic monitors one ECU has, and which of them have finished.

Standard: ISO 15031-5:2015 Annex B, PID 01 and 41.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.facts import Json

__all__ = ["MONITORS", "Monitor", "Readiness", "parse_readiness"]


@dataclass(frozen=True, slots=True)
class Monitor:
    """One diagnostic monitor. ``is_complete`` is None where it is not supported."""

    name: str
    text: Text
    is_supported: bool
    is_complete: bool | None


_CONTINUOUS: Final = (
    ("misfire", Text("misfire", "失火")),
    ("fuelSystem", Text("fuel system", "燃油系统")),
    ("comprehensiveComponents", Text("comprehensive components", "综合部件")),
)

_SPARK: Final = (
    ("catalyst", Text("catalyst", "催化器")),
    ("heatedCatalyst", Text("heated catalyst", "加热催化器")),
    ("evaporativeSystem", Text("evaporative system", "蒸发系统")),
    ("secondaryAir", Text("secondary air", "二次空气")),
    ("gasolineParticulateFilter", Text("A/C refrigerant or gasoline particulate filter", "空调制冷剂或汽油颗粒捕集器")),
    ("oxygenSensor", Text("oxygen sensor", "氧传感器")),
    ("oxygenSensorHeater", Text("oxygen sensor heater", "氧传感器加热器")),
    ("egrOrVvt", Text("EGR or VVT", "EGR 或 VVT")),
)

_COMPRESSION: Final = (
    ("nmhcCatalyst", Text("NMHC catalyst", "NMHC 催化器")),
    ("noxAftertreatment", Text("NOx aftertreatment", "NOx 后处理")),
    None,
    ("boostPressure", Text("boost pressure", "增压压力")),
    None,
    ("exhaustGasSensor", Text("exhaust gas sensor", "排气传感器")),
    ("particulateFilter", Text("particulate filter", "颗粒捕集器")),
    ("egrOrVvt", Text("EGR or VVT", "EGR 或 VVT")),
)

MONITORS: Final[Mapping[str, tuple[tuple[str, Text] | None, ...]]] = {"spark": _SPARK, "compression": _COMPRESSION}
"""The non-continuous monitors by kind of ignition, bit 0 first; None is a reserved bit."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Monitor status of one ECU.

    Args:
        mil_on: the malfunction lamp; None for "this drive cycle", which does not tell.
        codes: number of confirmed codes in this ECU; None likewise.
        ignition: ``spark`` or ``compression``; None for an ECU without any monitor, where the bit says nothing.
        monitors: those that the standard names for this ignition.

    Standard: ISO 15031-5:2015 Annex B, PID 01 and 41.
    """

    mil_on: bool | None
    codes: int | None
    ignition: str | None
    monitors: tuple[Monitor, ...]
    raw: bytes

    @property
    def is_applicable(self) -> bool:
        """Whether this ECU has any monitor; battery electric cars often have none, which is not "ready"."""
        return any(monitor.is_supported for monitor in self.monitors)

    @property
    def is_ready(self) -> bool | None:
        """Every supported monitor is complete; None where there is none."""
        supported = [monitor for monitor in self.monitors if monitor.is_supported]
        return all(monitor.is_complete for monitor in supported) if supported else None

    def to_json(self) -> Json:
        """One ECU's entry of ``readiness``."""
        return {
            "applicable": self.is_applicable,
            "ready": self.is_ready,
            "mil_on": self.mil_on,
            "codes": self.codes,
            "ignition": self.ignition,
            "monitors": {monitor.name: monitor.is_complete for monitor in self.monitors if monitor.is_supported},
            "raw": self.raw.hex().upper(),
        }


def parse_readiness(data: bytes, *, is_drive_cycle: bool = False) -> Readiness | None:
    """Monitor status from the four data bytes of PID 01, or of 41 with ``is_drive_cycle``; None when cut."""
    if len(data) < 4:
        return None
    lamp, continuous, supported, open_bits = data[:4]
    has_any = continuous & 0x07 or supported
    ignition = ("compression" if continuous & 0x08 else "spark") if has_any else None
    monitors = [
        _monitor(name, text, continuous >> bit & 1, continuous >> 4 + bit & 1)
        for bit, (name, text) in enumerate(_CONTINUOUS)
    ]
    for bit, known in enumerate(MONITORS[ignition] if ignition else ()):
        if known is not None:
            monitors.append(_monitor(*known, supported >> bit & 1, open_bits >> bit & 1))
    return Readiness(
        None if is_drive_cycle else lamp & 0x80 != 0,
        None if is_drive_cycle else lamp & 0x7F,
        ignition,
        tuple(monitors),
        bytes(data[:4]),
    )


def _monitor(name: str, text: Text, supported: int, is_open: int) -> Monitor:
    return Monitor(name, text, supported == 1, is_open == 0 if supported else None)
