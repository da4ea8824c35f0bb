"""The charging bus of a car at a DC station: both sides of the talk, and the current that follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from virtualbus.gbt27930 import CarSays, StationSays, StationSide, VehicleSide
from virtualbus.transport import Frame

if TYPE_CHECKING:
    from virtualbus.bms import Bms
    from virtualbus.plant import Plant

__all__ = ["DcCharging"]

_KINDS: Final = {"LFP": 3, "NMC": 6}
_FULL_SOC: Final = 0.98
_STEP_S: Final = 0.01


class DcCharging:
    """One charging session.

    Args:
        bus: number of the charging bus among the car's buses.

    Attributes:
        vehicle, station: both sides.
    """

    def __init__(self, plant: Plant, bms: Bms, vin: str, bus: int) -> None:
        self._plant = plant
        self._bms = bms
        self._vin = vin
        self._bus = bus
        self._now_ns = 0
        self._charged_s = 0.0
        self._kwh = 0.0
        self.vehicle = VehicleSide(self._car_says)
        self.station = StationSide(self._station_says)

    def _car_says(self) -> CarSays:
        bms, plant = self._bms, self._plant
        vehicle = bms.design.vehicle
        cell = bms.software.cell
        cells = vehicle.cells
        most_v = cells * (cell.high_v - 0.05)
        demand_a = plant.switches.dc_a
        left_ah = max(0.0, _FULL_SOC - bms.soc) * cell.capacity_ah
        return CarSays(
            vin=self._vin,
            cell_kind=next(kind for name, kind in _KINDS.items() if cell.name.startswith(name)),
            capacity_ah=cell.capacity_ah,
            nominal_v=cells * cell.ocv_v[7],
            most_cell_v=cell.high_v,
            most_a=vehicle.dc_a,
            most_v=most_v,
            energy_kwh=cells * cell.ocv_v[7] * cell.capacity_ah / 1000,
            soc=bms.soc,
            pack_v=bms.pack_v,
            current_a=bms.current_a,
            demand_v=most_v,
            demand_a=demand_a,
            cells_v=tuple(bms.cells_v.tolist()),
            probes_c=tuple(bms.temperatures_c.tolist()),
            minutes_left=60 * left_ah / max(1.0, demand_a),
            is_full=bms.soc >= _FULL_SOC,
        )

    def _station_says(self) -> StationSays:
        plant = self._plant
        out_a = plant.port.station_a
        return StationSays(
            out_v=plant.pack.voltage_v if out_a > 1 else 0.0,
            out_a=out_a,
            minutes=self._charged_s / 60,
            energy_kwh=self._kwh,
        )

    def tick(self) -> list[Frame]:
        """Lets 10 ms pass; the frames on the charging bus.

        While the contacts of the plug (S+, S-) are parted nothing of the station reaches the car, nor the reverse.
        """
        self._now_ns += 10_000_000
        now_ns, port = self._now_ns, self._plant.port
        is_cut = port.station_heard_s > 0.0
        out = []
        for _ in range(3):  # an answer of the transport protocol follows within the same tick
            said = self.station.poll(now_ns)
            for frame in said if not is_cut else ():
                self.vehicle.receive(frame, now_ns)
            answered = self.vehicle.poll(now_ns)
            for frame in answered if not is_cut else ():
                self.station.receive(frame, now_ns)
            out += [*(said if not is_cut else ()), *answered]
            if not said and not answered:
                break
        charging = self.vehicle.phase == "charging" and self.station.phase == "charging"
        port.is_released = charging
        if charging:
            self._charged_s += _STEP_S
            self._kwh += port.station_a * self._plant.pack.voltage_v * _STEP_S / 3.6e6
        return [Frame(frame.can_id, frame.data, extended=True, channel=self._bus) for frame in out]
