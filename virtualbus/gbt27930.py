"""The talk between a DC charging station and the car: both sides of it, frame by frame.

Each side is a small machine that takes frames and time and gives frames. What they say comes from the car: limits and
cells from its BMS, volts and amperes from the plant. A message that stays away ends the talk as the standard says.

Standard: GB/T 27930-2015 (V1.1), transport as SAE J1939-21.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from virtualbus.transport import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHARGER", "VEHICLE", "CarSays", "StationSays", "StationSide", "VehicleSide", "timeout_bits"]

CHARGER, VEHICLE = 0x56, 0xF4
_MS: Final = 1_000_000
_CHM, _BHM, _CRM, _BRM, _BCP, _CTS, _CML, _BRO, _CRO = 0x26, 0x27, 0x01, 0x02, 0x06, 0x07, 0x08, 0x09, 0x0A
_BCL, _BCS, _CCS, _BSM, _BMV, _BMT, _BST, _CST, _BSD, _CSD = 0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x19, 0x1A, 0x1C, 0x1D
_BEM, _CEM, _TP_CM, _TP_DT = 0x1E, 0x1F, 0xEC, 0xEB
_PRIORITY: Final = {_BRO: 4, _CRO: 4, _BST: 4, _CST: 4, _BEM: 2, _CEM: 2, _TP_CM: 7, _TP_DT: 7}
_READY, _NOT_READY = b"\xaa", b"\x00"
_FRAME_BYTES: Final = 8


def _frame(pf: int, source: int, to: int, data: bytes) -> Frame:
    can_id = _PRIORITY.get(pf, 6) << 26 | pf << 16 | to << 8 | source
    return Frame(can_id, data, extended=True)


def _u16(value: float, scale: float, offset: float = 0.0) -> bytes:
    return max(0, min(0xFFFF, round((value - offset) / scale))).to_bytes(2, "little")


def _ampere(value: float) -> bytes:
    """Charging current is counted below the zero at 400 A: 100 A are raw 3000."""
    return _u16(-value, 0.1, -400.0)


@dataclass(slots=True)
class CarSays:
    """What the car's side tells.

    Args:
        demand_v, demand_a: what it wants now; 0 A and ``is_full`` end the charging.
        cells_v, probes_c: as the BMS sampled them.
        fault: a stop reason of BST's second and third byte, 0 without any.
    """

    vin: str
    cell_kind: int
    capacity_ah: float
    nominal_v: float
    most_cell_v: float
    most_a: float
    most_v: float
    energy_kwh: float
    soc: float
    pack_v: float
    current_a: float
    demand_v: float
    demand_a: float
    cells_v: tuple[float, ...]
    probes_c: tuple[float, ...]
    minutes_left: float
    is_full: bool = False
    fault: int = 0


@dataclass(slots=True)
class StationSays:
    """What the station tells: its limits and its output."""

    most_v: float = 950.0
    least_v: float = 200.0
    most_a: float = 250.0
    out_v: float = 0.0
    out_a: float = 0.0
    minutes: float = 0.0
    energy_kwh: float = 0.0


class _Side:
    """What both sides have in common: cyclic messages, time-outs, phases."""

    me: int
    other: int

    def __init__(self) -> None:
        self.phase = "handshake"
        self.ended_by = ""
        self.missing = ""
        self._since = 0
        self._next: dict[int, int] = {}
        self._heard: dict[int, int] = {}
        self._last: dict[int, bytes] = {}
        self._out: list[Frame] = []

    def _enter(self, phase: str, now_ns: int) -> None:
        self.phase = phase
        self._since = now_ns
        self._next.clear()

    def _cyclic(self, pf: int, period_ms: int, data: Callable[[], bytes], now_ns: int) -> None:
        """Sends a message when it is due; longer ones by the transport protocol."""
        if now_ns >= self._next.get(pf, 0):
            self._next[pf] = now_ns + period_ms * _MS
            self._say(pf, data(), now_ns)

    def _say(self, pf: int, data: bytes, now_ns: int) -> None:  # noqa: ARG002 - a long one needs the time
        self._out.append(_frame(pf, self.me, self.other, data))

    def _silent_ms(self, pf: int, now_ns: int) -> float:
        """Since when a message stays away: from its last, or from the beginning of the phase."""
        return (now_ns - max(self._since, self._heard.get(pf, 0))) / _MS

    def _note(self, pf: int, data: bytes, now_ns: int) -> None:
        self._heard[pf] = now_ns
        self._last[pf] = data

    def _give_up(self, missing: str, now_ns: int) -> None:
        self.missing = self.missing or missing
        self.ended_by = self.ended_by or "timeout"
        self._enter("error", now_ns)

    def poll(self, now_ns: int) -> list[Frame]:
        """Frames that leave now."""
        raise NotImplementedError

    def _taken(self) -> list[Frame]:
        out, self._out = self._out, []
        return out


class VehicleSide(_Side):
    """The BMS at the charging bus.

    Args:
        says: gives the car's values.
    """

    me, other = VEHICLE, CHARGER

    def __init__(self, says: Callable[[], CarSays]) -> None:
        super().__init__()
        self._says = says
        self._sending: tuple[int, bytes, int] | None = None
        self._waiting: list[tuple[int, bytes]] = []
        self._steps: dict[str, Callable[[CarSays, int], None]] = {
            "handshake": self._handshake,
            "recognition": self._recognise,
            "configuration": self._configure,
            "ready": self._wait_ready,
            "charging": self._charge,
            "stop": self._stop,
            "statistics": self._sum_up,
            "error": self._complain,
        }

    # -- transport ----------------------------------------------------------------------------------------------

    def _say(self, pf: int, data: bytes, now_ns: int) -> None:
        if len(data) <= _FRAME_BYTES:
            super()._say(pf, data, now_ns)
            return
        if self._sending is not None and now_ns - self._sending[2] < 1_250 * _MS:
            if all(waiting[0] != pf for waiting in self._waiting):
                self._waiting.append((pf, data))
            return
        self._sending = (pf, data, now_ns)
        packets = -(-len(data) // 7)
        head = b"\x10" + len(data).to_bytes(2, "little") + bytes([packets, 0xFF]) + bytes([0x00, pf, 0x00])
        self._out.append(_frame(_TP_CM, self.me, self.other, head))

    def _controlled(self, data: bytes, now_ns: int) -> None:
        """The station lets us send (CTS) or has it all (end of message)."""
        if self._sending is None or len(data) != _FRAME_BYTES or data[6] != self._sending[0]:
            return
        _, payload, _ = self._sending
        if data[0] == 0x11:
            for number in range(data[2], data[2] + data[1]):
                part = payload[7 * (number - 1) : 7 * number].ljust(7, b"\xff")
                self._out.append(_frame(_TP_DT, self.me, self.other, bytes([number]) + part))
        elif data[0] == 0x13:
            self._sending = None
            if self._waiting:
                self._say(*self._waiting.pop(0), now_ns)

    # -- the talk -----------------------------------------------------------------------------------------------

    def receive(self, frame: Frame, now_ns: int) -> None:
        """Takes a frame of the station."""
        if not frame.extended or frame.can_id & 0xFF != CHARGER:
            return
        pf = frame.can_id >> 16 & 0xFF
        if pf == _TP_CM:
            self._controlled(frame.data, now_ns)
            return
        self._note(pf, frame.data, now_ns)
        if pf == _CHM and self.phase == "idle":
            self._enter("handshake", now_ns)
        elif pf == _CRM and self.phase == "handshake":
            self._enter("recognition", now_ns)
        elif pf == _CRM and self.phase == "recognition" and frame.data[:1] == _READY:
            self._enter("configuration", now_ns)
        elif pf == _CRO and self.phase == "ready" and frame.data[:1] == _READY:
            self._enter("charging", now_ns)
        elif pf == _CST and self.phase == "charging":
            self.ended_by = self.ended_by or "charger"
            self._enter("stop", now_ns)
        elif pf == _CSD and self.phase == "statistics":
            self._enter("over", now_ns)

    def poll(self, now_ns: int) -> list[Frame]:
        """Frames that leave now."""
        step = self._steps.get(self.phase)
        if step is not None:
            step(self._says(), now_ns)
        return self._taken()

    def _handshake(self, car: CarSays, now_ns: int) -> None:
        if _CHM in self._heard:
            self._cyclic(_BHM, 250, lambda: _u16(car.most_v, 0.1), now_ns)

    def _recognise(self, car: CarSays, now_ns: int) -> None:
        self._cyclic(_BRM, 250, lambda: self._identity(car), now_ns)
        if self._silent_ms(_CRM, now_ns) > 5_000:
            self._give_up("CRM", now_ns)

    def _configure(self, car: CarSays, now_ns: int) -> None:
        self._cyclic(_BCP, 500, lambda: self._parameters(car), now_ns)
        if self._heard.get(_CML, 0) > self._since and _CTS in self._heard:
            self._cyclic(_BRO, 250, lambda: _NOT_READY, now_ns)
            if now_ns - self._since > 1_500 * _MS:
                self._enter("ready", now_ns)
        elif self._silent_ms(_CML, now_ns) > 5_000:
            self._give_up("CML", now_ns)

    def _wait_ready(self, car: CarSays, now_ns: int) -> None:  # noqa: ARG002 - all steps are alike
        self._cyclic(_BRO, 250, lambda: _READY, now_ns)
        if now_ns - self._since > 60_000 * _MS:
            self._give_up("CRO", now_ns)

    def _stop(self, car: CarSays, now_ns: int) -> None:
        self._cyclic(_BST, 10, lambda: self._stop_reason(car), now_ns)
        if _CST in self._heard and now_ns - self._since > 100 * _MS:
            self._enter("statistics", now_ns)
        elif self._silent_ms(_CST, now_ns) > 5_000:
            self._give_up("CST", now_ns)

    def _sum_up(self, car: CarSays, now_ns: int) -> None:
        self._cyclic(_BSD, 250, lambda: self._statistics(car), now_ns)
        if self._silent_ms(_CSD, now_ns) > 10_000:
            self._give_up("CSD", now_ns)

    def _complain(self, car: CarSays, now_ns: int) -> None:  # noqa: ARG002 - all steps are alike
        self._cyclic(_BEM, 250, lambda: timeout_bits(self.missing), now_ns)
        if now_ns - self._since > 5_000 * _MS:
            self._enter("over", now_ns)

    def _charge(self, car: CarSays, now_ns: int) -> None:
        self._cyclic(_BCL, 50, lambda: _u16(car.demand_v, 0.1) + _ampere(car.demand_a) + b"\x02", now_ns)
        self._cyclic(_BCS, 250, lambda: self._state(car), now_ns)
        self._cyclic(_BSM, 250, lambda: self._flags(car), now_ns)
        self._cyclic(_BMV, 10_000, lambda: b"".join(_u16(volt, 0.01) for volt in car.cells_v[:256]), now_ns)
        self._cyclic(_BMT, 10_000, lambda: bytes(max(0, min(250, round(c + 50))) for c in car.probes_c[:128]), now_ns)
        if self._silent_ms(_CCS, now_ns) > 1_000:
            self._give_up("CCS", now_ns)
        elif car.is_full or car.fault:
            self.ended_by = "vehicle"
            self._enter("stop", now_ns)

    # -- contents -----------------------------------------------------------------------------------------------

    @staticmethod
    def _identity(car: CarSays) -> bytes:
        """BRM, 49 bytes."""
        head = b"\x01\x01\x00" + bytes([car.cell_kind]) + _u16(car.capacity_ah, 0.1) + _u16(car.nominal_v, 0.1)
        made = b"HZSM" + (1).to_bytes(4, "little") + bytes([2024 - 1985, 3, 12]) + (37).to_bytes(3, "little")
        return head + made + b"\x01\xff" + car.vin.encode("ascii") + b"\x10\x0c\x03\xe8\x07\xff\xff\xff"

    @staticmethod
    def _parameters(car: CarSays) -> bytes:
        """BCP, 13 bytes."""
        limits = _u16(car.most_cell_v, 0.01) + _ampere(car.most_a) + _u16(car.energy_kwh, 0.1) + _u16(car.most_v, 0.1)
        return limits + bytes([55 + 50]) + _u16(car.soc * 100, 0.1) + _u16(car.pack_v, 0.1)

    @staticmethod
    def _state(car: CarSays) -> bytes:
        """BCS, 9 bytes."""
        cell = round(max(car.cells_v) * 100) & 0x0FFF
        head = _u16(car.pack_v, 0.1) + _ampere(max(0.0, -car.current_a)) + cell.to_bytes(2, "little")
        return head + bytes([round(car.soc * 100)]) + min(600, round(car.minutes_left)).to_bytes(2, "little")

    @staticmethod
    def _flags(car: CarSays) -> bytes:
        """BSM, 7 bytes."""
        cells, probes = car.cells_v, car.probes_c
        high = probes.index(max(probes))
        low = probes.index(min(probes))
        over = 0x01 if max(cells) > car.most_cell_v else 0
        hot = 0x40 if max(probes) > 55 else 0
        fields = [cells.index(max(cells)) & 0xFF, round(max(probes) + 50), high, round(min(probes) + 50), low]
        return bytes([*fields, over | hot, 0x10 if car.demand_a > 0 else 0x00])

    def _stop_reason(self, car: CarSays) -> bytes:
        """BST: target reached, or the fault; the charger stopped first."""
        first = 0x40 if self.ended_by == "charger" else 0x01 if car.is_full else 0x00
        return bytes([first, car.fault & 0xFF, car.fault >> 8 & 0xFF, 0xF0])

    @staticmethod
    def _statistics(car: CarSays) -> bytes:
        """BSD, 7 bytes."""
        volts = _u16(min(car.cells_v), 0.01) + _u16(max(car.cells_v), 0.01)
        return (
            bytes([round(car.soc * 100)])
            + volts
            + bytes([round(min(car.probes_c) + 50), round(max(car.probes_c) + 50)])
        )


def timeout_bits(missing: str) -> bytes:
    """BEM: which message of the charger stayed away; unused bits are ones."""
    data = bytearray((0xF0, 0xF0, 0xF0, 0xFC))
    place = {"CRM": (0, 2), "CML": (1, 0), "CRO": (1, 2), "CCS": (2, 0), "CST": (2, 2), "CSD": (3, 0)}
    byte, shift = place[missing]
    data[byte] |= 0x01 << shift
    return bytes(data)


class StationSide(_Side):
    """The charger.

    Args:
        says: gives the station's limits and output.
    """

    me, other = CHARGER, VEHICLE

    def __init__(self, says: Callable[[], StationSays]) -> None:
        super().__init__()
        self._says = says
        self._assembling: tuple[int, int, dict[int, bytes]] | None = None
        self._steps: dict[str, Callable[[StationSays, int], None]] = {
            "handshake": self._handshake,
            "recognition": self._recognise,
            "recognised": self._recognise,
            "configuration": self._configure,
            "ready": self._wait_ready,
            "charging": self._charge,
            "stop": self._stop,
            "statistics": self._sum_up,
            "error": self._complain,
        }

    def receive(self, frame: Frame, now_ns: int) -> None:
        """Takes a frame of the vehicle."""
        if not frame.extended or frame.can_id & 0xFF != VEHICLE:
            return
        pf = frame.can_id >> 16 & 0xFF
        if pf == _TP_CM and frame.data[0] == 0x10:
            packets, about = frame.data[3], frame.data[5:8]
            self._assembling = (frame.data[6], int.from_bytes(frame.data[1:3], "little"), {})
            head = b"\x11" + bytes([packets, 1, 0xFF, 0xFF]) + about
            self._out.append(_frame(_TP_CM, self.me, self.other, head))
        elif pf == _TP_DT and self._assembling is not None:
            group, size, parts = self._assembling
            parts[frame.data[0]] = frame.data[1:]
            if len(parts) == -(-size // 7):
                payload = b"".join(parts[number] for number in sorted(parts))[:size]
                self._assembling = None
                end = b"\x13" + size.to_bytes(2, "little") + bytes([len(parts), 0xFF, 0x00, group, 0x00])
                self._out.append(_frame(_TP_CM, self.me, self.other, end))
                self._take(group, payload, now_ns)
        else:
            self._take(pf, frame.data, now_ns)

    def _take(self, pf: int, data: bytes, now_ns: int) -> None:
        self._note(pf, data, now_ns)
        if pf == _BHM and self.phase == "handshake":
            self._enter("recognition", now_ns)
        elif pf == _BCP and self.phase in ("recognition", "recognised"):
            self._enter("configuration", now_ns)
        elif pf == _BRM and self.phase == "recognition":
            self._enter("recognised", now_ns)
        elif pf == _BRO and self.phase == "configuration" and data[:1] == _READY:
            self._enter("ready", now_ns)
        elif pf == _BCL and self.phase == "ready":
            self._enter("charging", now_ns)
        elif pf == _BST and self.phase == "charging":
            self.ended_by = self.ended_by or "vehicle"
            self._enter("stop", now_ns)
        elif pf == _BSD and self.phase == "stop":
            self._enter("statistics", now_ns)
        elif pf == _BEM and self.phase not in ("over", "error"):
            self.ended_by = self.ended_by or "vehicle timeout"
            self._enter("over", now_ns)

    @property
    def demand(self) -> tuple[float, float]:
        """Volts and amperes that the vehicle asked for last."""
        data = self._last.get(_BCL)
        if data is None or self.phase != "charging":
            return 0.0, 0.0
        return int.from_bytes(data[:2], "little") * 0.1, 400.0 - int.from_bytes(data[2:4], "little") * 0.1

    def poll(self, now_ns: int) -> list[Frame]:
        """Frames that leave now."""
        step = self._steps.get(self.phase)
        if step is not None:
            step(self._says(), now_ns)
        return self._taken()

    def _handshake(self, out: StationSays, now_ns: int) -> None:  # noqa: ARG002 - all steps are alike
        self._cyclic(_CHM, 250, lambda: b"\x01\x01\x00", now_ns)

    def _recognise(self, out: StationSays, now_ns: int) -> None:  # noqa: ARG002 - all steps are alike
        known = _READY if self.phase == "recognised" else _NOT_READY
        self._cyclic(_CRM, 250, lambda: known + (1).to_bytes(4, "little") + b"310", now_ns)
        if self._silent_ms(_BRM, now_ns) > 5_000:
            self._give_up("BRM", now_ns)

    def _configure(self, out: StationSays, now_ns: int) -> None:
        self._cyclic(_CTS, 500, lambda: bytes.fromhex("00300828111620"), now_ns)
        self._cyclic(_CML, 250, lambda: self._limits(out), now_ns)
        if self._silent_ms(_BRO, now_ns) > 60_000:
            self._give_up("BRO", now_ns)

    def _wait_ready(self, out: StationSays, now_ns: int) -> None:  # noqa: ARG002 - all steps are alike
        ready = now_ns - self._since > 1_000 * _MS
        self._cyclic(_CRO, 250, lambda: _READY if ready else _NOT_READY, now_ns)

    def _charge(self, out: StationSays, now_ns: int) -> None:
        self._cyclic(_CCS, 50, lambda: self._output(out), now_ns)
        if self._silent_ms(_BCL, now_ns) > 1_000:
            self._give_up("BCL", now_ns)
        elif self._silent_ms(_BCS, now_ns) > 5_000:
            self._give_up("BCS", now_ns)

    def _stop(self, out: StationSays, now_ns: int) -> None:  # noqa: ARG002 - all steps are alike
        self._cyclic(_CST, 10, lambda: bytes((0x40, 0x00, 0xF0, 0xF0)), now_ns)
        if self._silent_ms(_BSD, now_ns) > 10_000:
            self._give_up("BSD", now_ns)

    def _sum_up(self, out: StationSays, now_ns: int) -> None:
        self._cyclic(_CSD, 250, lambda: self._sum(out), now_ns)

    def _complain(self, out: StationSays, now_ns: int) -> None:  # noqa: ARG002 - all steps are alike
        self._cyclic(_CEM, 250, self._errors, now_ns)
        if now_ns - self._since > 5_000 * _MS:
            self._enter("over", now_ns)

    @staticmethod
    def _limits(out: StationSays) -> bytes:
        return _u16(out.most_v, 0.1) + _u16(out.least_v, 0.1) + _ampere(out.most_a) + _ampere(0.0)

    @staticmethod
    def _output(out: StationSays) -> bytes:
        minutes = min(600, round(out.minutes)).to_bytes(2, "little")
        return _u16(out.out_v, 0.1) + _ampere(out.out_a) + minutes + b"\xfd\xff"

    @staticmethod
    def _sum(out: StationSays) -> bytes:
        minutes = min(600, round(out.minutes)).to_bytes(2, "little")
        return minutes + _u16(out.energy_kwh, 0.1) + (1).to_bytes(4, "little")

    def _errors(self) -> bytes:
        """CEM: which message of the vehicle stayed away."""
        data = bytearray((0xFC, 0xF0, 0xC0, 0xFC))
        place = {
            "BRM": (0, 0),
            "BCP": (1, 0),
            "BRO": (1, 2),
            "BCS": (2, 0),
            "BCL": (2, 2),
            "BST": (2, 4),
            "BSD": (3, 0),
        }
        byte, shift = place[self.missing]
        data[byte] |= 0x01 << shift
        return bytes(data)
