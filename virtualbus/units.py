"""Which class of ECU stands behind which name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from virtualbus.bms import Bms
from virtualbus.bodyunits import Body, Cluster, Gateway
from virtualbus.charger import Charger
from virtualbus.chassisunits import Brakes, Steering, Tyres
from virtualbus.engineunits import EngineControl, Gearbox
from virtualbus.inverter import Inverter
from virtualbus.powerunits import Dcdc, Thermal
from virtualbus.vcu import Vcu

if TYPE_CHECKING:
    from virtualbus.ecu import Ecu

__all__ = ["UNITS"]

UNITS: Final[dict[str, type[Ecu]]] = {
    unit.name: unit
    for unit in (
        Vcu, Inverter, Bms, Charger, Dcdc, Thermal, Brakes, Steering, Tyres, Body, Cluster, Gateway,
        EngineControl, Gearbox,
    )
}  # fmt: skip
