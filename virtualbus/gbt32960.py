"""A T-box's messages to a telematics platform: login, real-time reports, logout.

What is reported comes from the ECUs, as a T-box hears it on the bus; what they do not say is "invalid" (all ones).

Standard: GB/T 32960.3-2016 and -2025. Where the two differ the edition decides: start bytes, current offset,
and the numbers of the information units 06 to 09.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from virtualbus.trouble import Status

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from virtualbus.car import Car
    from virtualbus.ecu import Value

__all__ = ["EDITIONS", "Tbox"]

EDITIONS: Final = ("2016", "2025")
_CHINA: Final = timezone(timedelta(hours=8))
_LOGIN, _REPORT, _LOGOUT, _HEARTBEAT = 0x01, 0x02, 0x04, 0x07
_COMMAND: Final = 0xFE
_PLAIN: Final = 0x01
_MOST_CELLS: Final = 200
_ICCID: Final = b"89860000000000000000"
_ALARMS: Final = {
    0: ("P0C32",), 1: ("P0A7E",), 4: ("P0A7D",), 5: ("P0DE7",), 6: ("P0DE6",), 10: ("P0BBD",), 11: ("P0AA6",),
    9: ("U0312",), 14: ("P0A94",), 12: ("P0D32",), 13: ("C0041", "C0031", "C0034", "C0037", "C003A"), 15: ("P0A3C",),
    16: ("P0A0A",), 17: ("P0A2F",),
}  # fmt: skip
_LEVEL_3: Final = frozenset((1, 5, 11, 16))


def _u(value: Value | float | None, scale: float, size: int, offset: float = 0.0) -> bytes:
    """A number in ``size`` bytes, big-endian; all ones where there is none, the last valid value beyond the range."""
    most = (1 << 8 * size) - 1
    if value is None:
        return most.to_bytes(size, "big")
    raw = round((float(value) - offset) / scale)
    return (most - 1 if raw < 0 or raw > most - 2 else raw).to_bytes(size, "big")


class Tbox:
    """One car's terminal.

    Args:
        edition: ``2016`` or ``2025``.
    """

    def __init__(self, car: Car, edition: str = "2016") -> None:
        self._car = car
        self.edition = edition
        self._serial = 0
        self._key: EllipticCurvePrivateKey | None = None
        self._current_offset = -1000.0 if edition == "2016" else -3000.0

    # -- messages -----------------------------------------------------------------------------------------------

    def _message(self, command: int, body: bytes) -> bytes:
        start = b"##" if self.edition == "2016" else b"$$"
        rest = bytes([command, _COMMAND]) + self._car.vin.encode("ascii") + bytes([_PLAIN])
        rest += len(body).to_bytes(2, "big") + body
        check = 0
        for byte in rest:
            check ^= byte
        return start + rest + bytes([check])

    @staticmethod
    def _time(utc_s: float) -> bytes:
        now = datetime.fromtimestamp(utc_s, UTC).astimezone(_CHINA)
        return bytes([now.year - 2000, now.month, now.day, now.hour, now.minute, now.second])

    def login(self, utc_s: float) -> bytes:
        """Vehicle login with one energy storage system and its 24-character code (2016: of the maker's length)."""
        self._serial += 1
        code = f"HZ{self._car.vehicle.cell.name:<6}{self._car.vin[-8:]}".replace(" ", "0").ljust(24, "0").encode()
        body = self._time(utc_s) + self._serial.to_bytes(2, "big") + _ICCID
        body += (b"\x01" + bytes([len(code)]) if self.edition == "2016" else b"\x01\x01") + code
        return self._message(_LOGIN, body)

    def logout(self, utc_s: float) -> bytes:
        """Vehicle logout, with the serial number of the login."""
        return self._message(_LOGOUT, self._time(utc_s) + self._serial.to_bytes(2, "big"))

    def heartbeat(self) -> bytes:
        """Keeps the line."""
        return self._message(_HEARTBEAT, b"")

    def reports(self, utc_s: float) -> list[bytes]:
        """Real-time reports of this moment; more than 200 cells are spread over several."""
        units = self._vehicle() + self._motors() + self._engine() + self._position()
        cells = self._cells()
        if self.edition == "2016":
            units += self._extremes()
        units += self._alarms()
        first, *more = cells
        time6 = self._time(utc_s)
        bodies = [time6 + units + first + self._temperatures(), *(time6 + part for part in more)]
        return [self._message(_REPORT, self._signed(body)) for body in bodies]

    def _signed(self, body: bytes) -> bytes:
        """2025: the data unit ends with the terminal's signature (type FF, ECC over P-256 and SHA-256)."""
        if self.edition == "2016":
            return body
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        if self._key is None:
            secret = int.from_bytes(self._car.vin.encode("ascii"), "big")
            self._key = ec.derive_private_key(secret, ec.SECP256R1())
        r, s = utils.decode_dss_signature(self._key.sign(body, ec.ECDSA(hashes.SHA256())))
        parts = [b"\x00\x20" + number.to_bytes(32, "big") for number in (r, s)]
        return body + b"\xff\x03" + b"".join(parts)

    @property
    def alarm_level(self) -> int:
        """0 none to 3 stop."""
        return self._flags()[1]

    # -- information units --------------------------------------------------------------------------------------

    def _value(self, name: str) -> Value:
        return self._car.buses.value(name)

    def _current(self) -> bytes:
        """GB/T 32960: discharge is positive, as on our bus."""
        return _u(self._value("PackCurrent"), 0.1, 2, self._current_offset)

    def _vehicle(self) -> bytes:
        car = self._car
        plug = self._value("PlugState")
        charging = 3 if not plug else 1 if self._value("ChargerState") == 2 else 4
        running = 1 if car.plant.switches.key_on else 2
        mode = 2 if car.plant.combustion is not None and car.plant.switches.engine_w > 0 else 1
        gear = {0: 0x0F, 1: 0x0D, 2: 0x00, 3: 0x0E}.get(int(self._value("GearPosition") or 0), 0x0F)
        torque = self._value("MotorTorque") or 0.0
        gear |= 0x20 if torque > 1 else 0x10 if torque < -1 or self._value("BrakeSwitch") else 0
        insulation = self._value("InsulationResistance")
        body = bytes([0x01, running, charging, mode])
        body += _u(self._value("VehicleSpeed"), 0.1, 2) + _u(self._value("Odometer"), 0.1, 4)
        body += _u(self._value("PackVoltage"), 0.1, 2) + self._current() + _u(self._value("StateOfCharge"), 1.0, 1)
        body += bytes([1 if self._value("DcdcState") else 2, gear])
        body += _u(None if insulation is None else min(60_000, insulation), 1.0, 2)
        if self.edition == "2016":
            body += _u(self._value("AcceleratorPedal"), 1.0, 1) + (b"\x65" if self._value("BrakeSwitch") else b"\x00")
        return body

    def _motors(self) -> bytes:
        torque = self._value("MotorTorque")
        state = 4 if not torque else 1 if torque > 0 else 2
        head = bytes([0x02, 0x01, 0x01, state]) + _u(self._value("InverterTemp"), 1.0, 1, -40.0)
        if self.edition == "2016":
            head += _u(self._value("MotorSpeed"), 1.0, 2, -20_000.0) + _u(torque, 0.1, 2, -2_000.0)
            head += _u(self._value("MotorTemp"), 1.0, 1, -40.0) + _u(self._value("DcLinkVoltage"), 0.1, 2)
            return head + self._current()
        head += _u(self._value("MotorSpeed"), 1.0, 2, -32_000.0) + _u(torque, 0.1, 4, -20_000.0)
        return head + _u(self._value("MotorTemp"), 1.0, 1, -40.0)

    def _engine(self) -> bytes:
        if self._car.plant.combustion is None:
            return b""
        rpm = self._value("EngineSpeed")
        if self.edition == "2025":
            return b"\x04" + _u(rpm, 1.0, 2)
        return bytes([0x04, 1 if rpm and rpm > 300 else 2]) + _u(rpm, 1.0, 2) + _u(None, 0.01, 2)

    def _position(self) -> bytes:
        """No satellite reaches a car that is not there: the fix is invalid."""
        body = b"\x05\x01" if self.edition == "2016" else b"\x05\x01\x01"
        return body + bytes(8)

    def _extremes(self) -> bytes:
        bms = self._car.bms
        if not bms.cells_v.any():
            return b""
        body = b"\x06"
        for pick in (bms.cells_v.argmax(), bms.cells_v.argmin()):
            body += bytes([1, min(254, int(pick) + 1)]) + _u(float(bms.cells_v[pick]), 0.001, 2)
        for pick in (bms.temperatures_c.argmax(), bms.temperatures_c.argmin()):
            body += bytes([1, int(pick) + 1]) + _u(float(bms.temperatures_c[pick]), 1.0, 1, -40.0)
        return body

    def _flags(self) -> tuple[int, int]:
        failing = {
            code.test.dtc[:5]
            for ecu in self._car.ecus.values()
            for code in ecu.memory.codes.values()
            if code.status & Status.TEST_FAILED
        }
        flags = sum(1 << bit for bit, codes in _ALARMS.items() if failing & set(codes))
        if not flags:
            return 0, 0
        return flags, 3 if any(flags >> bit & 1 for bit in _LEVEL_3) else 2

    def _alarms(self) -> bytes:
        flags, level = self._flags()
        body = bytes([0x07 if self.edition == "2016" else 0x06, level]) + flags.to_bytes(4, "big") + bytes(4)
        if self.edition == "2025":
            set_bits = [bit for bit in range(32) if flags >> bit & 1]
            body += bytes([len(set_bits)])
            body += b"".join(bytes([bit, 3 if bit in _LEVEL_3 else 2]) for bit in set_bits)
        return body

    def _cells(self) -> list[bytes]:
        bms = self._car.bms
        cells = bms.cells_v
        volts = _u(self._value("PackVoltage"), 0.1, 2)
        total = len(cells).to_bytes(2, "big")
        if self.edition == "2025":
            data = b"".join(_u(float(volt), 0.001, 2) for volt in cells)
            return [b"\x07\x01\x01" + volts + self._current() + total + data]
        out = []
        for first in range(0, len(cells), _MOST_CELLS):
            part = cells[first : first + _MOST_CELLS]
            data = b"".join(_u(float(volt), 0.001, 2) for volt in part)
            head = b"\x08\x01\x01" + volts + self._current() + total
            out.append(head + (first + 1).to_bytes(2, "big") + bytes([len(part)]) + data)
        return out

    def _temperatures(self) -> bytes:
        probes = self._car.bms.temperatures_c
        kind = b"\x09" if self.edition == "2016" else b"\x08"
        data = b"".join(_u(float(probe), 1.0, 1, -40.0) for probe in probes)
        return kind + b"\x01\x01" + len(probes).to_bytes(2, "big") + data
