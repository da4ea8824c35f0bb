"""The charging side: mains or a station, the inlet, the control pilot, the on-board charger's power stage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from virtualbus.design import Inlet
    from virtualbus.highvoltage import Switches

__all__ = ["ChargePort"]

_MAINS_V: Final = 230.0
_MAINS_OHM: Final = 0.15
_EFFICIENCY: Final = 0.93
_PILOT_V: Final = 12.0
_PILOT_SOURCE_OHM: Final = 1000.0
_PILOT_CAR_OHM: Final = 882.0
_DIODE_V: Final = 0.7
_INLET_W_K: Final = 0.9
_INLET_J_K: Final = 260.0


class ChargePort:
    """Plug, pilot and inlet.

    Attributes:
        plug: ``none``, ``ac`` or ``dc``.
        duty: of the control pilot, percent; 16 A is 27 %, 32 A is 53 %.
        inlet_c: degrees Celsius of the contacts.
        mains_a: amperes from the mains.
        station_a: what the station gives, amperes.
        is_released: the talk with the station is at the charging stage; without frames nobody asks for it.
        station_heard_s: seconds since the station's last message.
    """

    def __init__(self, inlet: Inlet, ambient_c: float, dc_limit_a: float) -> None:
        self._inlet = inlet
        self._dc_limit_a = dc_limit_a
        self.plug = "none"
        self.duty = 53.0
        self.inlet_c = ambient_c
        self.mains_a = 0.0
        self.station_a = 0.0
        self.is_released = True
        self.station_heard_s = math.inf
        self._charging_s = 0.0

    def insert(self, plug: str) -> None:
        """Puts a plug in, or takes it out (``none``)."""
        self.plug = plug
        self._charging_s = 0.0
        self.station_heard_s = 0.0 if plug == "dc" else math.inf

    @property
    def pilot_v(self) -> float | None:
        """Positive volts of the control pilot at the car's side; None without a plug.

        Standard: IEC 61851-1:2017 Annex A: 1 kΩ in the station, 882 Ω in a car that wants to charge give 6 V.
        """
        if self.plug != "ac":
            return None
        loop_ohm = _PILOT_SOURCE_OHM + self._inlet.pilot_ohm + _PILOT_CAR_OHM
        return _DIODE_V + (_PILOT_V - _DIODE_V) * _PILOT_CAR_OHM / loop_ohm

    @property
    def mains_v(self) -> float | None:
        """Volts of the mains behind the inlet; None without a plug."""
        return _MAINS_V - self.mains_a * (_MAINS_OHM + self._inlet.contact_ohm) if self.plug == "ac" else None

    def power_w(self, switches: Switches, pack_v: float) -> float:
        """Watts into the high-voltage side."""
        self.mains_a = 0.0
        if self.plug == "ac" and switches.ac_w > 0:
            allowed_a = min(32.0, self.duty * 0.6)
            self.mains_a = min(switches.ac_w / _MAINS_V, allowed_a) * self._inlet.power
            return self.mains_a * (self.mains_v or 0.0) * _EFFICIENCY
        if self.plug == "dc" and self.station_a > 0:
            return self.station_a * pack_v
        return 0.0

    def step(self, switches: Switches, dt_s: float, ambient_c: float) -> float:
        """Lets ``dt_s`` seconds pass; watts lost in the on-board charger."""
        if self.plug == "dc":
            self._charging_s += dt_s
            silent = self._charging_s > self._inlet.station_silent_s
            self.station_heard_s = self.station_heard_s + dt_s if silent else 0.0
            # A station ends by itself when it hears nothing of the car, and gives no more than it is asked for.
            wanted_a = min(switches.dc_a, self._dc_limit_a) if self.is_released and not silent else 0.0
            self.station_a += (wanted_a - self.station_a) * (1 - math.exp(-dt_s / 2.0))
        else:
            self.station_a = 0.0
        through_a = self.mains_a or self.station_a
        heat_w = through_a * through_a * self._inlet.contact_ohm * (1.0 if self.mains_a else 0.12)
        settled = ambient_c + heat_w / _INLET_W_K
        self.inlet_c = settled + (self.inlet_c - settled) * math.exp(-dt_s * _INLET_W_K / _INLET_J_K)
        return self.mains_a * _MAINS_V * (1 - _EFFICIENCY)
