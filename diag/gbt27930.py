"""The talk between a car and a DC charging station, heard on its CAN bus: the messages.

Nothing is ever sent here: a third node on this bus may only listen. Fields whose bits are all ones are "not used", a
two-bit field that says "not trustworthy" is no fault.

Standard: GB/T 27930-2015 (tables of the messages); clauses unverified.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["FLAGS", "ChargeMessage", "Said", "hear_messages"]

CHARGER: Final = 0x56
VEHICLE: Final = 0xF4

FLAGS: Final[Mapping[str, tuple[tuple[Text, ...], ...]]] = {
    "BST": (
        (
            Text("target SOC reached", "达到目标 SOC"),
            Text("target voltage reached", "达到总电压设定值"),
            Text("target cell voltage reached", "达到单体电压设定值"),
            Text("the charger stopped first", "充电机主动中止"),
        ),
        (
            Text("insulation fault", "绝缘故障"),
            Text("output connector too hot", "输出连接器过温"),
            Text("BMS part or connector too hot", "BMS 元件或连接器过温"),
            Text("fault of the charge connector", "充电连接器故障"),
        ),
        (
            Text("battery too hot", "电池组温度过高"),
            Text("fault of the high-voltage relay", "高压继电器故障"),
            Text("voltage at detection point 2 is wrong", "检测点 2 电压检测故障"),
            Text("another fault", "其他故障"),
        ),
        (Text("current too high", "电流过大"), Text("voltage abnormal", "电压异常")),
    ),
    "CST": (
        (
            Text("the charger's condition reached", "达到充电机设定条件"),
            Text("stopped by a person", "人工中止"),
            Text("stopped by a fault", "故障中止"),
            Text("the BMS stopped first", "BMS 主动中止"),
        ),
        (
            Text("charger too hot", "充电机过温"),
            Text("fault of the connector", "充电连接器故障"),
            Text("inside of the charger too hot", "充电机内部过温"),
            Text("the energy cannot be delivered", "所需电量不能传送"),
        ),
        (Text("emergency stop", "急停"), Text("another fault", "其他故障")),
        (Text("current does not match", "电流不匹配"), Text("voltage abnormal", "电压异常")),
    ),
}
"""Message -> bytes -> two-bit fields from the lowest; 01 means yes."""

_TIMEOUTS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "BEM": (("CRM", "CRM"), ("CML", "CRO"), ("CCS", "CST"), ("CSD",)),
    "CEM": (("BRM",), ("BCP", "BRO"), ("BCS", "BCL", "BST"), ("BSD",)),
}
"""The message that the one who complains has missed."""

_TRANSPORT: Final = (0xEC, 0xEB)
_RTS, _ABORT = 0x10, 0xFF


@dataclass(frozen=True, slots=True)
class Said:
    """One value of a message; None where the bytes say "not available"."""

    name: str
    value: float | str | None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ChargeMessage:
    """One message.

    Args:
        name: as the standard abbreviates it, ``BCL``; ``PF26`` for an unknown one.
        is_vehicle: from the BMS; else from the charger.
        t_ns: of its last frame.
        flags: what it says is so: reasons of a stop, messages that were missed.
        missing: bytes that did not come.
    """

    name: str
    is_vehicle: bool
    t_ns: int
    values: tuple[Said, ...]
    raw: bytes
    flags: tuple[Text, ...] = ()
    missed: tuple[str, ...] = ()
    missing: int = 0

    def value(self, name: str) -> float | str | None:
        """The value of this name, None where there is none."""
        return next((item.value for item in self.values if item.name == name), None)


def _number(
    data: bytes, at: int, size: int, scale: float = 1.0, offset: float = 0.0, *, bits: int | None = None
) -> float | None:
    part = data[at : at + size]
    if len(part) < size or part == b"\xff" * size:
        return None
    raw = int.from_bytes(part, "little")
    raw = raw & ((1 << bits) - 1) if bits is not None else raw
    return round(raw * scale + offset, 6)


def _ready(data: bytes) -> tuple[Said, ...]:
    words = {0x00: "not-ready", 0xAA: "ready"}
    return (Said("ready", words.get(data[0]) if data else None),)


def _text(data: bytes) -> str | None:
    shown = data.rstrip(b"\xff\0 ")
    return shown.decode("ascii") if shown and shown.isascii() else None


def _version(data: bytes) -> str | None:
    return f"{data[1] | data[2] << 8}.{data[0]}" if len(data) >= 3 else None


def _brm(data: bytes) -> tuple[Said, ...]:
    kinds = {1: "lead-acid", 2: "NiMH", 3: "LFP", 4: "LMO", 5: "LCO", 6: "NMC", 7: "polymer", 8: "LTO"}
    kind = data[3] if len(data) > 3 else 0xFF
    return (
        Said("version", _version(data)),
        Said("battery_type", kinds.get(kind, "other" if len(data) > 3 else None)),
        Said("capacity", _number(data, 4, 2, 0.1), "Ah"),
        Said("rated_voltage", _number(data, 6, 2, 0.1), "V"),
        Said("maker", _text(data[8:12])),
        Said("vin", _text(data[24:41])),
    )


def _bcp(data: bytes) -> tuple[Said, ...]:
    return (
        Said("max_cell_voltage", _number(data, 0, 2, 0.01), "V"),
        Said("max_current", _ampere(data, 2), "A"),
        Said("energy", _number(data, 4, 2, 0.1), "kWh"),
        Said("max_voltage", _number(data, 6, 2, 0.1), "V"),
        Said("max_temperature", _number(data, 8, 1, 1, -50), "°C"),
        Said("soc", _number(data, 9, 2, 0.1), "%"),
        Said("voltage", _number(data, 11, 2, 0.1), "V"),
    )


def _ampere(data: bytes, at: int) -> float | None:
    """The amount of a current; some senders write charging as negative, others as positive."""
    value = _number(data, at, 2, 0.1, -400)
    return None if value is None else abs(value)


def _cml(data: bytes) -> tuple[Said, ...]:
    return (
        Said("max_voltage", _number(data, 0, 2, 0.1), "V"),
        Said("min_voltage", _number(data, 2, 2, 0.1), "V"),
        Said("max_current", _ampere(data, 4), "A"),
        Said("min_current", _ampere(data, 6), "A"),
    )


def _bcl(data: bytes) -> tuple[Said, ...]:
    modes = {1: "constant-voltage", 2: "constant-current"}
    return (
        Said("voltage", _number(data, 0, 2, 0.1), "V"),
        Said("current", _ampere(data, 2), "A"),
        Said("mode", modes.get(data[4]) if len(data) > 4 else None),
    )


def _bcs(data: bytes) -> tuple[Said, ...]:
    return (
        Said("voltage", _number(data, 0, 2, 0.1), "V"),
        Said("current", _ampere(data, 2), "A"),
        Said("highest_cell_voltage", _number(data, 4, 2, 0.01, bits=12), "V"),
        Said("soc", _number(data, 6, 1), "%"),
        Said("time_left", _number(data, 7, 2), "min"),
    )


def _ccs(data: bytes) -> tuple[Said, ...]:
    permits = {0: "paused", 1: "allowed"}
    return (
        Said("voltage", _number(data, 0, 2, 0.1), "V"),
        Said("current", _ampere(data, 2), "A"),
        Said("time", _number(data, 4, 2), "min"),
        Said("permit", permits.get(data[6] & 3) if len(data) > 6 else None),
    )


def _bsm(data: bytes) -> tuple[Said, ...]:
    states = {0: "ok", 1: "high", 2: "low"}
    levels, rest = (data[5] if len(data) > 5 else 0xFF), (data[6] if len(data) > 6 else 0xFF)
    return (
        Said("highest_cell", _number(data, 0, 1, 1, 1)),
        Said("highest_temperature", _number(data, 1, 1, 1, -50), "°C"),
        Said("lowest_temperature", _number(data, 3, 1, 1, -50), "°C"),
        Said("cell_voltage", states.get(levels & 3)),
        Said("soc", states.get(levels >> 2 & 3)),
        Said("current", states.get(levels >> 4 & 3)),
        Said("temperature", states.get(levels >> 6 & 3)),
        Said("insulation", {0: "ok", 1: "fault"}.get(rest & 3)),
        Said("connector", {0: "ok", 1: "fault"}.get(rest >> 2 & 3)),
        Said("permit", {0: "forbidden", 1: "allowed"}.get(rest >> 4 & 3)),
    )


def _bsd(data: bytes) -> tuple[Said, ...]:
    return (
        Said("soc", _number(data, 0, 1), "%"),
        Said("lowest_cell_voltage", _number(data, 1, 2, 0.01), "V"),
        Said("highest_cell_voltage", _number(data, 3, 2, 0.01), "V"),
        Said("lowest_temperature", _number(data, 5, 1, 1, -50), "°C"),
        Said("highest_temperature", _number(data, 6, 1, 1, -50), "°C"),
    )


def _csd(data: bytes) -> tuple[Said, ...]:
    return (
        Said("time", _number(data, 0, 2), "min"),
        Said("energy", _number(data, 2, 2, 0.1), "kWh"),
        Said("charger", _number(data, 4, 4)),
    )


def _cells(data: bytes) -> tuple[Said, ...]:
    return tuple(
        Said(f"cell_{at // 2 + 1}", _number(data, at, 2, 0.01, bits=12), "V") for at in range(0, len(data) - 1, 2)
    )


def _probes(data: bytes) -> tuple[Said, ...]:
    return tuple(Said(f"probe_{at + 1}", _number(data, at, 1, 1, -50), "°C") for at in range(len(data)))


def _nothing(_data: bytes) -> tuple[Said, ...]:
    return ()


_MESSAGES: Final[Mapping[int, tuple[str, bool, Callable[[bytes], tuple[Said, ...]]]]] = {
    0x26: ("CHM", False, lambda data: (Said("version", _version(data)),)),
    0x27: ("BHM", True, lambda data: (Said("max_voltage", _number(data, 0, 2, 0.1), "V"),)),
    0x01: ("CRM", False, _ready),
    0x02: ("BRM", True, _brm),
    0x06: ("BCP", True, _bcp),
    0x07: ("CTS", False, _nothing),
    0x08: ("CML", False, _cml),
    0x09: ("BRO", True, _ready),
    0x0A: ("CRO", False, _ready),
    0x10: ("BCL", True, _bcl),
    0x11: ("BCS", True, _bcs),
    0x12: ("CCS", False, _ccs),
    0x13: ("BSM", True, _bsm),
    0x15: ("BMV", True, _cells),
    0x16: ("BMT", True, _probes),
    0x17: ("BSP", True, _nothing),
    0x19: ("BST", True, _nothing),
    0x1A: ("CST", False, _nothing),
    0x1C: ("BSD", True, _bsd),
    0x1D: ("CSD", False, _csd),
    0x1E: ("BEM", True, _nothing),
    0x1F: ("CEM", False, _nothing),
}


def _message(pf: int, data: bytes, t_ns: int, *, is_vehicle: bool, missing: int = 0) -> ChargeMessage:
    name, sender, read = _MESSAGES.get(pf, (f"PF{pf:02X}", is_vehicle, _nothing))
    if sender != is_vehicle:
        name, read = f"PF{pf:02X}", _nothing
    flags: list[Text] = []
    for byte, names in zip(data, FLAGS.get(name, ()), strict=False):
        flags += [text for at, text in enumerate(names) if byte >> 2 * at & 3 == 1]
    missed: list[str] = []
    for byte, messages in zip(data, _TIMEOUTS.get(name, ()), strict=False):
        missed += [other for at, other in enumerate(messages) if byte >> 2 * at & 3 == 1]
    return ChargeMessage(name, is_vehicle, t_ns, read(data), data, tuple(flags), tuple(dict.fromkeys(missed)), missing)


@dataclass(slots=True)
class _Open:
    pf: int
    size: int
    data: bytearray = field(default_factory=bytearray)
    next_number: int = 1
    is_broken: bool = False


def hear_messages(frames: Iterable[tuple[int, int, bytes]]) -> tuple[ChargeMessage, ...]:
    """The messages of a charging bus.

    Args:
        frames: time in ns, 29-bit identifier, data; in their order. Everything that is not between a charger (0x56)
            and a BMS (0xF4) is passed over.
    """
    found: list[ChargeMessage] = []
    open_: dict[int, _Open] = {}

    def flush(source: int, t_ns: int) -> None:
        part = open_.pop(source, None)
        if part is not None:
            data = bytes(part.data[: part.size])
            missing = part.size - len(data)
            found.append(_message(part.pf, data, t_ns, is_vehicle=source == VEHICLE, missing=missing))

    for t_ns, can_id, data in frames:
        pf, to, source = can_id >> 16 & 0xFF, can_id >> 8 & 0xFF, can_id & 0xFF
        if {to, source} != {CHARGER, VEHICLE} or can_id >> 24 & 3:
            continue
        if pf == _TRANSPORT[0]:
            if len(data) >= 8 and data[0] == _RTS:
                flush(source, t_ns)
                open_[source] = _Open(data[6], data[1] | data[2] << 8)
            elif data[:1] == bytes([_ABORT]):
                flush(source, t_ns)
                flush(to, t_ns)
        elif pf == _TRANSPORT[1]:
            part = open_.get(source)
            if part is None or not data:
                continue
            part.is_broken |= data[0] != part.next_number
            if not part.is_broken:
                part.data += data[1:8]
                part.next_number += 1
            if len(part.data) >= part.size:
                flush(source, t_ns)
        else:
            found.append(_message(pf, data, t_ns, is_vehicle=source == VEHICLE))
    last = found[-1].t_ns if found else 0
    for source in list(open_):
        flush(source, last)
    return tuple(found)
