"""The kinds of cars: battery, body, ECUs, addresses, databases, programs. Figures only, nothing that moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dbc.files import EBUS, EV400, EV800, LFP104, PHEV, ZEV
from virtualbus.chemistry import LFP135, LFP280, NMC532S, NMC811, NMC811L
from virtualbus.driving import Body
from virtualbus.errors import Phrase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from virtualbus.chemistry import CellType

__all__ = ["VEHICLES", "Vehicle"]

_EV_ECUS: Final = ("VCU", "INV", "BMS", "OBC", "DCDC", "TMS", "ESC", "EPS", "BCM", "IC", "TPM", "GW")
_VERSIONS: Final = {
    "VCU": "5.2",
    "INV": "4.1",
    "BMS": "3.4",
    "OBC": "1.8",
    "DCDC": "2.2",
    "TMS": "3.0",
    "ESC": "7.5",
    "EPS": "2.9",
    "BCM": "6.3",
    "IC": "4.7",
    "TPM": "1.2",
    "GW": "8.1",
    "ECM": "9.4",
    "TCM": "3.3",
}


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One kind of car.

    Args:
        name: as scenarios call it.
        model: as its part numbers call it.
        vds: characters 4 to 8 of its VIN.
        databases: one per bus, the diagnostic one first.
        cells, per_module: cells in series, and how many share a module.
        speaks: ``obd`` (services 01 to 0A and UDS), ``uds`` (UDS only: OBDonUDS) or ``j1939``.
        ac_w: what its charger takes from the mains.
        dc_a: what its battery takes from a charging station.
        engine: whether there is a combustion engine beside the motor.
        bitrate: of the diagnostic bus, bit/s.
        stands_for: message of the platform -> the one that takes its place in this car.
    """

    name: str
    model: str
    title: Phrase
    vds: str
    databases: tuple[Path, ...]
    cell: CellType
    cells: int
    per_module: int
    ecus: tuple[str, ...] = _EV_ECUS
    body: Body = field(default_factory=Body)
    speaks: str = "obd"
    ac_w: float = 6_900.0
    dc_a: float = 200.0
    engine: bool = False
    bitrate: int = 500_000
    stands_for: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: dict(_VERSIONS))

    @property
    def modules(self) -> int:
        """Modules, each with one temperature and one probe."""
        return self.cells // self.per_module


VEHICLES: Final = {
    vehicle.name: vehicle
    for vehicle in (
        Vehicle(
            "ev400",
            "EV400",
            Phrase("a 400 V sedan, 96 NMC cells", "400 V 轿车，96 串三元电池"),
            "EV4D0",
            (EV400,),
            NMC811,
            96,
            6,
        ),
        Vehicle(
            "ev800",
            "EV800",
            Phrase("an 800 V car, 198 NMC cells, CAN FD", "800 V 车型，198 串三元电池，CAN FD"),
            "EV8D0",
            EV800,
            NMC811L,
            198,
            6,
            body=Body(mass_kg=2250.0, drag_m2=0.58, drive_w=280_000.0, regen_w=120_000.0, motor_rpm_per_kmh=95.0),
            ac_w=6_900.0,
            dc_a=280.0,
        ),
        Vehicle(
            "lfp104",
            "LFP104",
            Phrase("a compact car, 104 LFP cells", "紧凑型车，104 串磷酸铁锂电池"),
            "LF3C0",
            (LFP104,),
            LFP135,
            104,
            8,
            body=Body(mass_kg=1620.0, drag_m2=0.62, drive_w=100_000.0, motor_rpm_per_kmh=88.0),
            dc_a=150.0,
        ),
        Vehicle(
            "zev",
            "ZEV",
            Phrase("a car that speaks OBDonUDS only, 96 NMC cells", "只支持 OBDonUDS 的车，96 串三元电池"),
            "ZU6D0",
            (ZEV,),
            NMC811,
            96,
            12,
            speaks="uds",
        ),
        Vehicle(
            "phev",
            "PHEV",
            Phrase("a plug-in hybrid, 84 NMC cells", "插电式混合动力车，84 串三元电池"),
            "PH5D0",
            (PHEV,),
            NMC532S,
            84,
            12,
            (*_EV_ECUS, "ECM", "TCM"),
            body=Body(mass_kg=1850.0, drag_m2=0.66, drive_w=85_000.0, regen_w=35_000.0),
            ac_w=3_500.0,
            dc_a=60.0,
            engine=True,
        ),
        Vehicle(
            "ebus",
            "EBUS",
            Phrase("an electric city bus (J1939), 180 LFP cells", "纯电动城市客车（J1939），180 串磷酸铁锂电池"),
            "CB9D0",
            (EBUS,),
            LFP280,
            180,
            12,
            speaks="j1939",
            body=Body(
                mass_kg=13_500.0,
                drag_m2=5.2,
                rolling=0.0075,
                drive_w=200_000.0,
                regen_w=150_000.0,
                motor_rpm_per_kmh=34.0,
                wheel_m=0.48,
                top_kmh=80.0,
            ),
            dc_a=250.0,
            bitrate=250_000,
            stands_for={
                "BMS_Pack": "HVESSD1",
                "BMS_Status": "BMS_State",
                "BMS_Limits": "HVESSD1",
                "BMS_Switches": "BMS_State",
                "VCU_Status": "VCU_State",
                "VCU_Odometer": "VDHR",
                "INV_Status": "INV_State",
                "OBC_Status": "OBC_State",
                "OBC_Plug": "OBC_State",
                "DCDC_Status": "DCDC_State",
                "TMS_Battery": "TMS_State",
                "TMS_Drive": "TMS_State",
                "ESC_Status": "EBC_State",
                "EPS_Status": "EPS_State",
                "BCM_Status": "BCM_State",
                "IC_Status": "IC_State",
                "TPM_Pressures": "TPM_State",
                "GW_Status": "GW_State",
            },
        ),
    )
}
