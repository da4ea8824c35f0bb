"""The whole car: plant, four ECUs, their bus. Time is an argument; frames go in and out as values.

Before anybody plugs in, the car has lived: it was charged, driven, parked, driven again (with its ECUs watching) and
stands switched on. All of that is simulated, without frames, when the car is made. From then on it moves in ticks of
10 ms, so that the same seed gives the same frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from virtualbus.bms import CELL_GROUPS, TEMP_GROUPS, Bms
from virtualbus.broadcast import Broadcast, Network
from virtualbus.charger import Charger
from virtualbus.design import Design
from virtualbus.driving import Trip
from virtualbus.identity import identifications, vehicle_infos, vin
from virtualbus.inverter import Inverter
from virtualbus.plant import Plant
from virtualbus.transport import FUNCTIONAL_ID, EcuTransport, Frame
from virtualbus.vcu import Vcu

if TYPE_CHECKING:
    from collections.abc import Callable

    from virtualbus.ecu import Ecu, Values
    from virtualbus.scenario import Scenario

__all__ = ["TICK_NS", "Car"]

TICK_NS: Final = 10_000_000
_PHYSICS_TICKS: Final = 2
_JUDGE_TICKS: Final = 10
_TICK_S: Final = TICK_NS / 1e9

_TRIP_S: Final = 1440
_TRIP_STEP_S: Final = 1.0
_READY_S: Final = 45.0
_READY_STEP_S: Final = 0.25
_PARKED_H: Final = 72.0
_COOLING_H: Final = 0.75

_MIXED: Final = {"BMS_CellVoltages": CELL_GROUPS, "BMS_CellTemps": TEMP_GROUPS}


class Car:
    """One simulated EV400.

    Args:
        scenario: what is broken.
        seed: draws everything that differs between cars of a kind; the scenario's own seed when None.

    Attributes:
        vin: as its ECUs say it.
        ecus: by name.
    """

    def __init__(self, scenario: Scenario, seed: int | None = None) -> None:
        self.scenario = scenario
        self.seed = next(number for number in (seed, scenario.seed, 1) if number is not None)
        grown, broken, driven, sensed, named = (
            np.random.default_rng(child) for child in np.random.SeedSequence(self.seed).spawn(5)
        )
        design = Design.grown(grown)
        for fault in scenario.faults:
            fault.alter(design, broken)
        self.vin = vin(named)
        self.plant = Plant(design, Trip(_TRIP_S, driven), driven, ambient_c=float(np.rint(driven.uniform(12, 27))))
        self._network = Network()
        self.ecus = self._build(design, sensed, named)
        self._messages = [
            (message, self._source(message), phase) for phase, message in enumerate(self._network.messages)
        ]
        self._live(driven)
        self._transports = {name: EcuTransport(ecu) for name, ecu in self.ecus.items()}
        self._ticks = 0

    def _build(self, design: Design, sensed: np.random.Generator, named: np.random.Generator) -> dict[str, Ecu]:
        ids = identifications(self.vin, design.bms_software, named)
        nodes = self._network.nodes

        def at(name: str) -> tuple[int, int, dict[int, bytes]]:
            return nodes[name].request_id, nodes[name].response_id, ids[name]

        self.bms = Bms(*at("BMS"), design, sensed)
        ecus: dict[str, Ecu] = {
            "VCU": Vcu(*at("VCU"), sensed),
            "INV": Inverter(*at("INV"), sensed),
            "BMS": self.bms,
            "OBC": Charger(*at("OBC"), sensed),
        }
        for name, info in vehicle_infos(self.vin, ids).items():
            ecus[name].vehicle_info = info
        return ecus

    def _source(self, message: Broadcast) -> Callable[[int], Values]:
        """Where the values of a message come from, given how often it was sent."""
        ecu, name = self.ecus[message.sender], message.name
        if name == "BMS_CellVoltages":
            return lambda count: self.bms.cell_group(count % CELL_GROUPS)
        if name == "BMS_CellTemps":
            return lambda count: self.bms.temp_group(count % TEMP_GROUPS)
        return lambda count: ecu.values(name)  # noqa: ARG005 - one group only

    # -- the past -----------------------------------------------------------------------------------------------

    def _live(self, rng: np.random.Generator) -> None:
        """Full charge and balancing, days of use, the last trip, the stand before the workshop."""
        plant = self.plant
        plant.rest(_PARKED_H)
        plant.use(float(rng.uniform(0.26, 0.44)))
        plant.rest(_PARKED_H)
        plant.t_s = 0.0
        self._wake()
        for _ in range(round(_TRIP_S / _TRIP_STEP_S)):
            self._unseen_step(_TRIP_STEP_S)
        self._sleep()
        plant.rest(_COOLING_H, 60.0)
        self._wake()
        for _ in range(round(_READY_S / _READY_STEP_S)):
            self._unseen_step(_READY_STEP_S)

    def _wake(self) -> None:
        self.plant.switches.key_on = True
        for ecu in self.ecus.values():
            ecu.wake(self.plant.t_s)

    def _sleep(self) -> None:
        for ecu in self.ecus.values():
            ecu.sleep()
        self.plant.switches.key_on = self.plant.switches.precharge = False
        self.plant.switches.main_contactors = self.plant.switches.torque = self.plant.switches.dcdc = False

    def _unseen_step(self, dt_s: float) -> None:
        """A step of the past: everything happens, only no frame is made."""
        self.plant.step(dt_s)
        for ecu in self.ecus.values():
            ecu.measure(self.plant, dt_s)
        for message, source, _ in self._messages:
            if message.name not in _MIXED:
                self._deliver(message, source(0))
        self._decide(dt_s)

    def _decide(self, dt_s: float) -> None:
        for ecu in self.ecus.values():
            ecu.control(self.plant)
        for ecu in self.ecus.values():
            ecu.judge(dt_s)

    def _deliver(self, message: Broadcast, values: Values) -> None:
        if self.plant.is_connected(message.sender):
            for name, ecu in self.ecus.items():
                if name != message.sender and self.plant.is_connected(name):
                    ecu.receive(message.name, values)

    # -- the present --------------------------------------------------------------------------------------------

    def tick(self) -> list[Frame]:
        """Lets 10 ms pass; the broadcast frames that leave in them."""
        self._ticks += 1
        now = self._ticks
        if now % _PHYSICS_TICKS == 0:
            self.plant.step(_PHYSICS_TICKS * _TICK_S)
            if now % _JUDGE_TICKS == 0:
                for ecu in self.ecus.values():
                    ecu.measure(self.plant, _JUDGE_TICKS * _TICK_S)
            else:
                self.bms.measure_pack(self.plant)
        frames = []
        for message, source, phase in self._messages:
            every = message.cycle_ns // TICK_NS
            if (now + phase) % every == 0:
                values = source((now + phase) // every)
                data = message.encode(values)
                if message.name not in _MIXED:
                    self._deliver(message, values)
                if self.plant.is_connected(message.sender):
                    frames.append(Frame(message.can_id, data))
        if now % _JUDGE_TICKS == 0:
            self._decide(_JUDGE_TICKS * _TICK_S)
        return frames

    @property
    def own_ids(self) -> frozenset[int]:
        """All identifiers that this car sends."""
        answers = {ecu.response_id for ecu in self.ecus.values()}
        return frozenset({message.can_id for message, _, _ in self._messages} | answers)

    def receive(self, frame: Frame, now_ns: int) -> None:
        """Takes a frame from the bus; ``now_ns`` is any monotonic clock, the same for every call."""
        for name, transport in self._transports.items():
            if frame.can_id in (transport.request_id, FUNCTIONAL_ID) and self.plant.is_connected(name):
                transport.receive(frame, now_ns)

    def answers(self, now_ns: int) -> list[Frame]:
        """Diagnostic frames that are due."""
        out = []
        for name, transport in self._transports.items():
            frames = transport.poll(now_ns)
            if self.plant.is_connected(name):
                out += frames
        return out

    def next_answer_ns(self, now_ns: int) -> int | None:
        """When :meth:`answers` has something to do again."""
        times = [at for transport in self._transports.values() if (at := transport.next_ns(now_ns)) is not None]
        return min(times, default=None)
