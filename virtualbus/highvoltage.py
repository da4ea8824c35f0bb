"""Contactors, precharge and the link behind them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from virtualbus.design import Contactors, Relay

__all__ = ["LINK_FARAD", "Link", "Switches"]

LINK_FARAD: Final = 0.0011
_PASSIVE_S: Final = 70.0
_ACTIVE_S: Final = 0.5
_CABLE_OHM: Final = 0.004


class Switches:
    """What the ECUs command: the only way in which they act on the car.

    Attributes:
        key_on: the driver has switched the car on.
        positive, negative, precharge: coils of the contactors.
        discharge: the inverter's active discharge of the link.
        torque: the inverter gives torque; limited to ``drive_w`` watts and ``regen_w`` backwards.
        dcdc: the DC/DC converter runs.
        ac_w: what the on-board charger takes from the mains.
        dc_a: what the car asks a charging station for.
        battery_pump, drive_pump, fan, chiller: 0..1.
        heater_w: of the battery's coolant.
        engine_w: what the combustion engine is to give at the crankshaft; 0 = it stands.
    """

    __slots__ = (
        "ac_w", "battery_pump", "chiller", "dc_a", "dcdc", "discharge", "drive_pump", "drive_w", "engine_w", "fan",
        "heater_w", "key_on", "negative", "positive", "precharge", "regen_w", "torque",
    )  # fmt: skip

    def __init__(self) -> None:
        self.key_on = False
        self.positive = self.negative = self.precharge = False
        self.discharge = False
        self.torque = False
        self.drive_w = self.regen_w = math.inf
        self.dcdc = False
        self.ac_w = self.dc_a = 0.0
        self.battery_pump = self.drive_pump = self.fan = self.chiller = 0.0
        self.heater_w = 0.0
        self.engine_w = 0.0

    def release(self) -> None:
        """The car is switched off: every coil and every request falls."""
        self.__init__()  # type: ignore[misc]  # the same state as new

    @property
    def main_contactors(self) -> bool:
        """Whether both main contactors are commanded."""
        return self.positive and self.negative


def _is_closed(relay: Relay, *, commanded: bool) -> bool:
    return relay.welded or (commanded and not relay.stuck_open)


class Link:
    """The inverter's DC link with its capacitor.

    Attributes:
        volts: across the capacitor.
        is_connected: both poles of the pack are through.
    """

    def __init__(self, contactors: Contactors) -> None:
        self.contactors = contactors
        self.volts = 0.0
        self.is_connected = False
        self.is_precharging = False

    def settle(self, switches: Switches) -> None:
        """Where the contactors stand now."""
        parts = self.contactors
        negative = _is_closed(parts.negative, commanded=switches.negative)
        self.is_connected = negative and _is_closed(parts.positive, commanded=switches.positive)
        self.is_precharging = (
            negative and not self.is_connected and _is_closed(parts.precharge, commanded=switches.precharge)
        )

    @property
    def path_ohm(self) -> float:
        """Resistance from the pack's terminals to the link while connected."""
        return self.contactors.positive.contact_ohm + self.contactors.negative.contact_ohm + _CABLE_OHM

    def step(self, pack_v: float, current_a: float, switches: Switches, dt_s: float) -> None:
        """Lets ``dt_s`` seconds pass with ``current_a`` flowing out of the pack."""
        if self.is_connected:
            self.volts = pack_v - self.path_ohm * current_a
        elif self.is_precharging:
            tau_s = self.contactors.precharge_ohm * LINK_FARAD
            self.volts += (pack_v - self.volts) * (1 - math.exp(-dt_s / tau_s))
        else:
            self.volts *= math.exp(-dt_s / (_ACTIVE_S if switches.discharge else _PASSIVE_S))
