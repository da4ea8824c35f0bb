"""Who the car and its ECUs say they are.

The maker does not exist: its WMI is unassigned in our table, so that nobody mistakes a simulated car for a real one.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

    from virtualbus.design import BmsSoftware
    from virtualbus.vehicles import Vehicle

__all__ = ["check_digit", "identifications", "vehicle_infos", "vin"]

_VALUES: Final = {
    **{str(digit): digit for digit in range(10)},
    **dict(zip("ABCDEFGH", range(1, 9), strict=True)),
    **dict(zip("JKLMN", range(1, 6), strict=True)),
    "P": 7,
    "R": 9,
    **dict(zip("STUVWXYZ", range(2, 10), strict=True)),
}
_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_NAMES: Final = {
    "VCU": "VCU\0-VehicleControl",
    "INV": "DMCM-DriveMotorCtrl",
    "BMS": "BECM-BatteryEnergy",
    "OBC": "OBCM-OnBoardCharger",
    "DCDC": "DCDC-DCDCConverter",
    "TMS": "TMCM-ThermalMgmt",
    "ECM": "ECM\0-EngineControl",
    "TCM": "TCM\0-Transmission",
    "ESC": "ABS\0-BrakeControl",
    "EPS": "EPS\0-PowerSteering",
    "BCM": "BCM\0-BodyControl",
    "IC": "IPC\0-Instruments",
    "TPM": "TPM\0-TyrePressure",
    "GW": "GWM\0-Gateway",
}
_PART: Final = {
    "VCU": "2410", "INV": "2120", "BMS": "2710", "OBC": "2730", "DCDC": "2740", "TMS": "8120", "ECM": "3610",
    "TCM": "1740", "ESC": "3550", "EPS": "3410", "BCM": "3650", "IC": "3820", "TPM": "3640", "GW": "3660",
}  # fmt: skip


def check_digit(text: str) -> str:
    """The ninth character that a VIN of 17 characters must have. Standard: ISO 3779, 49 CFR 565."""
    rest = sum(_VALUES[char] * weight for char, weight in zip(text, _WEIGHTS, strict=True)) % 11
    return "X" if rest == 10 else str(rest)


def vin(rng: np.random.Generator, vds: str = "EV4D0") -> str:
    """A VIN of model year 2024 with a right check digit; ``vds`` are characters 4 to 8."""
    text = f"LHZ{vds}0RA{int(rng.integers(100_000, 999_999)):06d}"
    return text[:8] + check_digit(text) + text[9:]


def _bcd_date(year: int, month: int, day: int) -> bytes:
    return bytes.fromhex(f"{year:04d}{month:02d}{day:02d}")


def identifications(
    number: str, vehicle: Vehicle, bms: BmsSoftware, rng: np.random.Generator
) -> dict[str, dict[int, bytes]]:
    """Identification data identifiers of every ECU. Standard: ISO 14229-1:2020 Annex C.1."""
    out: dict[str, dict[int, bytes]] = {}
    for name in vehicle.ecus:
        part = _PART[name]
        version = bms.version if name == "BMS" else vehicle.versions[name]
        serial = f"{name}{int(rng.integers(10_000_000, 99_999_999))}"
        software = f"{part}-SW-{version.replace('.', '')}"
        if name == "BMS":
            software += f"-D{bms.cell.dataset}"
        out[name] = {
            0xF187: f"{part}100-{vehicle.model}".encode(),
            0xF188: software.encode(),
            0xF189: version.encode(),
            0xF18A: b"HZSIM",
            0xF18B: _bcd_date(2024, int(rng.integers(1, 7)), int(rng.integers(1, 28))),
            0xF18C: serial.encode(),
            0xF191: f"{part}-HW-B".encode(),
            0xF193: b"B2",
            0xF194: f"S{software}".encode(),
            0xF195: f"{version}.{int(rng.integers(0, 9))}".encode(),
            0xF197: name.encode(),
        }
    for name in ("VCU", "BMS"):
        out[name][0xF190] = number.encode()
    return out


def vehicle_infos(number: str, ids: dict[str, dict[int, bytes]]) -> dict[str, dict[int, bytes]]:
    """OBD InfoTypes: the VIN from the VCU, calibration, its verification number and the name from all.

    Standard: SAE J1979 service 09.
    """
    out: dict[str, dict[int, bytes]] = {}
    for name, content in ids.items():
        out[name] = {
            0x04: content[0xF188].ljust(16, b"\0")[:16],
            0x06: zlib.crc32(content[0xF188] + content[0xF195]).to_bytes(4, "big"),
            0x0A: _NAMES[name].encode().ljust(20, b"\0"),
        }
    out["VCU"][0x02] = number.encode()
    return out
