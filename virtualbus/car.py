"""The whole car: plant, ECUs, their buses. Time is an argument; frames go in and out as values.

Before anybody plugs in, the car has lived: days that are simulated coarsely, then the scenario's cycle with its ECUs
watching (driven, parked, charged), without frames. From then on it moves in ticks of 10 ms, so that the same seed gives
the same frames.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from virtualbus.bms import Bms
from virtualbus.buses import Buses
from virtualbus.dccharging import DcCharging
from virtualbus.design import BmsSoftware, Design
from virtualbus.driving import Trip
from virtualbus.ecu import DEAD_V, Ecu
from virtualbus.identity import identifications, vehicle_infos, vin
from virtualbus.j1939 import J1939Node
from virtualbus.network import Frames, load_catalogue
from virtualbus.plant import Plant
from virtualbus.transport import EcuTransport, Frame
from virtualbus.units import UNITS
from virtualbus.vehicles import VEHICLES
from virtualbus.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from virtualbus.bodyunits import Gateway
    from virtualbus.faults import Fault
    from virtualbus.network import Broadcast
    from virtualbus.scenario import History, Phase, Scenario

__all__ = ["TICK_NS", "Car"]

TICK_NS: Final = 10_000_000
_TICK_S: Final = TICK_NS / 1e9
_JUDGE_TICKS: Final = 10
_BLOCK_TICKS: Final = 10

_TRIP_STEP_S: Final = 1.0
_LEISURE: Final = 4
_CHARGE_STEP_S: Final = 2.0
_FINE_S: Final = 5.0
_FINE_STEP_S: Final = 0.25
_READY_S: Final = 45.0
_PARKED_H: Final = 72.0
_BUS_OFF_AT: Final = 256
_BUS_OFF_S: Final = 1.2
_ERROR_STEP: Final = 8
_BURST_S: Final = 0.3


class Car:
    """One simulated car.

    Args:
        scenario: which car, and what is broken.
        seed: draws everything that differs between cars of a kind; the scenario's own seed when None.
        step_s: seconds of one step of the past; 2 makes a fleet in half of the time, a little coarser.

    Attributes:
        vin: as its ECUs say it.
        ecus: by name.
        drawn: the figures of each fault, drawn ones included; for evaluation only.
    """

    def __init__(self, scenario: Scenario, seed: int | None = None, *, step_s: float = _TRIP_STEP_S) -> None:
        self.scenario = scenario
        self._step_s = step_s
        self.seed = next(given for given in (seed, scenario.seed, 1) if given is not None)
        grown, broken, driven, sensed, named, shaken = (
            np.random.default_rng(child) for child in np.random.SeedSequence(self.seed).spawn(6)
        )
        self.vehicle = VEHICLES[scenario.vehicle]
        self.design = Design.grown(self.vehicle, grown)
        self._broken, self._driven, self._shaken = broken, driven, shaken
        self._take_history(scenario.history, grown)
        self.drawn: list[Mapping[str, Any]] = [{} for _ in scenario.faults]
        self._coming: list[tuple[float, int, Fault]] = []
        for number, fault in enumerate(scenario.faults):
            if fault.from_s is None:
                self.drawn[number] = fault.alter(self.design, broken)
            else:
                self._coming.append((fault.from_s, number, fault))
        self._coming.sort(key=lambda item: item[:2])
        self.vin = vin(named, self.vehicle.vds)
        ambient_c = float(np.rint(driven.uniform(12, 27)))
        weather = scenario.environment
        if weather.ambient_c is not None:
            ambient_c = weather.ambient_c
        self.plant = Plant(self.design, Trip(180, driven), driven, ambient_c, wet=weather.wet)
        if scenario.history.odometer_km is not None:
            self.plant.odometer_km = scenario.history.odometer_km
        self.plant.refit()
        self.catalogue = load_catalogue(self.vehicle.databases)
        self.buses = Buses(self.catalogue, self.vehicle.stands_for)
        self.ecus = self._build(sensed, named)
        self.buses.connect(self.ecus)
        self._fast = [ecu for ecu in self.ecus.values() if type(ecu).measure_fast is not Ecu.measure_fast]
        self._fast_names = {ecu.name for ecu in self._fast}
        self._units = list(self.ecus.values())
        self._brisk = [ecu for ecu in self._units if not ecu.is_leisurely]
        self._leisurely = [ecu for ecu in self._units if ecu.is_leisurely]
        self._past_steps = 0
        messages = self.catalogue.messages
        self._senders = [(message, self.ecus[message.sender]) for message in messages]
        self._own = {name: [message.index for message in messages if message.sender == name] for name in self.ecus}
        self._every = np.array([message.cycle_ns // TICK_NS for message in messages], dtype=np.int64)
        self._period = math.lcm(*(message.cycle_ns // TICK_NS * message.groups for message in messages))
        self._burst_until_s = -math.inf
        self._is_disturbed = False
        self._live()
        self.dc_charging: DcCharging | None = None
        if scenario.now == "charge-dc":
            self.dc_charging = DcCharging(self.plant, self.bms, self.vin, len(self.vehicle.databases))
        self._wire = Wire(scenario.transport, np.random.default_rng((self.seed, 7)))
        self._made: Mapping[str, EcuTransport | J1939Node] | None = None
        self._busy: dict[str, EcuTransport | J1939Node] = {}
        if self.vehicle.speaks == "j1939":
            self._busy |= self._transports
        self._ticks = 0
        self._schedule: dict[int, tuple[tuple[tuple[int, int], ...], tuple[int, ...]]] = {}

    def _build(self, sensed: np.random.Generator, named: np.random.Generator) -> dict[str, Ecu]:
        ids = identifications(self.vin, self.vehicle, self.design.bms_software, named)
        nodes = self.catalogue.nodes
        ecus = {
            name: UNITS[name](nodes[name], ids[name], self.design, self.buses, sensed) for name in self.vehicle.ecus
        }
        for name, info in vehicle_infos(self.vin, ids).items():
            ecus[name].vehicle_info = info
        return ecus

    def _take_history(self, history: History, rng: np.random.Generator) -> None:
        """What years have done to the car before its story begins."""
        design = self.design
        if history.health < 1.0:
            lost = 1.0 - history.health
            cells = len(design.spread.capacity)
            design.spread.capacity *= history.health + 0.02 * lost * rng.standard_normal(cells).clip(-2, 2)
            design.spread.resistance *= 1.0 + 2.0 * lost
        if history.bms_version is not None:
            major, _, minor = history.bms_version.partition(".")
            design.bms_software = BmsSoftware(int(major), int(minor), design.bms_software.cell)

    @property
    def bms(self) -> Bms:
        """The battery management system."""
        found = self.ecus["BMS"]
        if not isinstance(found, Bms):
            raise TypeError(found)
        return found

    # -- the past -----------------------------------------------------------------------------------------------

    def _live(self) -> None:
        """Full charge and balancing, days of use, the scenario's cycle, waking for whoever plugs in."""
        plant = self.plant
        plant.rest(_PARKED_H)
        plant.use(float(self._driven.uniform(0.26, 0.44)))
        plant.rest(_PARKED_H)
        plant.t_s = 0.0
        for phase in self.scenario.cycle:
            self._live_phase(phase)
        now = self.scenario.now
        if now == "drive":
            plant.trip = Trip(6 * 3600, self._driven, "mixed", plant.t_s + _READY_S)
        self._wake(key_on=not now.startswith("charge"))
        if now == "charge-ac":
            plant.port.insert("ac")
        self._pass(_READY_S, self._step_s)
        if now == "charge-dc":
            plant.port.insert("dc")
            plant.port.is_released = False

    def _live_phase(self, phase: Phase) -> None:
        plant = self.plant
        seconds = phase.minutes * 60
        if phase.do == "park":
            hours = phase.minutes / 60
            plant.rest(hours, min(3600.0, max(60.0, hours * 60)))
            return
        if phase.do == "drive":
            plant.trip = Trip(round(seconds), self._driven, phase.profile, plant.t_s)
            self._wake(key_on=True)
            self._pass(seconds, self._step_s)
        else:
            plant.port.insert(phase.do.removeprefix("charge-"))
            self._wake(key_on=False)
            self._pass(seconds, _CHARGE_STEP_S)
            plant.port.insert("none")
        self._sleep()

    def _wake(self, *, key_on: bool) -> None:
        self.plant.switches.key_on = key_on
        for ecu in self._units:
            ecu.wake(self.plant.t_s)

    def _sleep(self) -> None:
        for ecu in self._units:
            ecu.sleep()
        self.plant.switches.release()
        self.plant.command_bleed(None)

    def _pass(self, seconds: float, step_s: float) -> None:
        """Lets a part of the past pass; the first seconds after waking finely, for the contactors."""
        fine = min(_FINE_S, seconds)
        for _ in range(round(fine / _FINE_STEP_S)):
            self.unseen_step(_FINE_STEP_S)
        for _ in range(round((seconds - fine) / step_s)):
            self.unseen_step(step_s)

    def unseen_step(self, dt_s: float) -> None:
        """A step of the past: everything happens, only no frame is made."""
        self._strike()
        plant = self.plant
        plant.step(dt_s)
        self._shake(dt_s)
        t_s = plant.t_s
        self._past_steps += 1
        at_work = [(ecu, dt_s) for ecu in self._brisk]
        if dt_s < _TRIP_STEP_S:
            at_work = [(ecu, dt_s) for ecu in self._units]
        elif self._past_steps % _LEISURE == 0:
            # The units of body and chassis wait for nothing in between: every fourth step is enough for them.
            at_work += [(ecu, dt_s * _LEISURE) for ecu in self._leisurely]
        for ecu, passed_s in at_work:
            ecu.measure(plant, passed_s)
        buses = self.buses
        speaking = self._speaking()
        for name in speaking:
            buses.mark(self._own[name], t_s)
        for ecu, _ in at_work:
            if ecu.name in speaking:
                buses.take(ecu.name)
        for ecu, _ in at_work:
            ecu.control(plant)
        for ecu, passed_s in at_work:
            ecu.judge_all(passed_s)

    def _decide(self, dt_s: float) -> None:
        for ecu in self._units:
            ecu.control(self.plant)
        for ecu in self._units:
            ecu.judge_all(dt_s)

    def _strike(self) -> None:
        """Faults whose time has come."""
        while self._coming and self._coming[0][0] <= self.plant.t_s:
            _, number, fault = self._coming.pop(0)
            self.drawn[number] = fault.alter(self.design, self._broken)
            self.plant.refit()

    # -- the wires ----------------------------------------------------------------------------------------------

    def _shake(self, dt_s: float) -> None:
        """Error bursts: while one lasts nothing gets through, and the controllers count."""
        share = self.design.wires.disturbed
        t_s = self.plant.t_s
        if not share:
            return
        if t_s >= self._burst_until_s:
            self._burst_until_s = t_s + _BURST_S
            self._is_disturbed = float(self._shaken.random()) < share
        gateway: Gateway | None = self.ecus.get("GW")  # type: ignore[assignment]  # its class is that of UNITS
        if self._is_disturbed:
            lasting_s = min(dt_s, _BURST_S)
            sent = 0
            for message, ecu in self._senders:
                tries = max(1, round(lasting_s / (message.cycle_ns / 1e9)))
                ecu.error_count += _ERROR_STEP * tries if not ecu.is_bus_off else 0
                sent += tries
            if gateway is not None:
                gateway.saw_errors(sent)
        for ecu in self._units:
            if not ecu.is_bus_off and ecu.error_count >= _BUS_OFF_AT:
                ecu.is_bus_off = ecu.was_bus_off = True
                ecu.free_s = t_s + _BUS_OFF_S
            elif ecu.is_bus_off and t_s >= ecu.free_s:
                ecu.is_bus_off, ecu.error_count = False, 0
            elif not self._is_disturbed:
                ecu.error_count = max(0, ecu.error_count - round(60 * dt_s))

    def _speaking(self) -> list[str]:
        """ECUs whose frames reach the bus now; notes when one's connector opened."""
        if self._is_disturbed or self.plant.low.volts < DEAD_V:
            return []
        cut = self.design.wires.off_the_bus_s
        t_s = self.plant.t_s
        out = []
        for ecu in self._units:
            if t_s >= cut.get(ecu.name, math.inf):
                ecu.cut_s = min(ecu.cut_s, t_s)
            elif not ecu.is_bus_off:
                out.append(ecu.name)
        return out

    def is_heard(self, name: str) -> bool:
        """Whether an ECU's frames reach the bus now."""
        ecu = self.ecus[name]
        return self.plant.is_connected(name) and not ecu.is_bus_off and self.plant.low.volts >= DEAD_V

    # -- the present --------------------------------------------------------------------------------------------

    def _advance(self) -> tuple[tuple[int, int], ...]:
        """Lets 10 ms pass; the messages that leave, each with its group."""
        self._ticks += 1
        now = self._ticks
        self._strike()
        plant, buses = self.plant, self.buses
        plant.step(_TICK_S)
        judging = now % _JUDGE_TICKS == 0
        if judging:
            self._shake(_JUDGE_TICKS * _TICK_S)
            for ecu in self._units:
                ecu.measure(plant, _JUDGE_TICKS * _TICK_S)
        else:
            for ecu in self._fast:
                ecu.measure_fast(plant)
        speaking = self._speaking()
        for name in speaking:
            if judging or name in self._fast_names or now == 1:
                buses.take(name, quick=not judging and now > 1)
        due, latching = self._due(now % self._period)
        if len(speaking) < len(self._units):
            due = tuple(item for item in due if self._senders[item[0]][0].sender in speaking)
        for message in latching:
            buses.latch(message)
        if now == 1:
            buses.latch_all()
        buses.mark((message for message, _ in due), plant.t_s)
        if judging:
            self._decide(_JUDGE_TICKS * _TICK_S)
        return due

    def _due(self, now: int) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
        """Messages of a tick of the schedule with their group, and those whose values are taken anew."""
        found = self._schedule.get(now)
        if found is None:
            due = []
            for message, _ in self._senders:
                count, rest = divmod(now + message.index, message.cycle_ns // TICK_NS)
                if rest == 0:
                    due.append((message.index, count % message.groups))
            latching = tuple(index for index, group in due if group == 0 and self.catalogue.messages[index].groups > 1)
            found = self._schedule[now] = (tuple(due), latching)
        return found

    def _counts(self, due: tuple[tuple[int, int], ...], now: int) -> NDArray[np.int64]:
        """How often each message was sent before tick ``now``."""
        index = np.array([message for message, _ in due], dtype=np.intp)
        return (now + index) // self._every[index]

    def tick(self) -> list[Frame]:
        """Lets 10 ms pass; the broadcast frames that leave in them."""
        due = self._advance()
        talk = self.dc_charging.tick() if self.dc_charging is not None else []
        if not due or self._wire.hides_broadcast:
            return talk
        columns = self.catalogue.encode(
            self.buses.values[None, :],
            tuple((0, message, group) for message, group in due),
            self._counts(due, self._ticks),
        )
        raw = columns.data.tobytes()
        width = columns.data.shape[1]
        out = []
        for at, (index, _) in enumerate(due):
            message = self.catalogue.messages[index]
            data = raw[at * width : at * width + message.length]
            out.append(Frame(message.can_id, data, message.extended, message.fd, message.channel))
        return out + talk

    @property
    def bus_count(self) -> int:
        """How many buses the car has now, the charging bus included."""
        return len(self.vehicle.databases) + (self.dc_charging is not None)

    def blocks(self, ticks: int) -> Iterator[Frames]:
        """Frames of the next ticks as columns, some ticks at a time: as fast as the machine allows.

        :attr:`Frames.tick` counts from the first of them.
        """
        for start in range(0, ticks, _BLOCK_TICKS):
            rows, all_due, counts = [], [], []
            for _ in range(min(_BLOCK_TICKS, ticks - start)):
                due = self._advance()
                all_due.append(due)
                counts.append(self._counts(due, self._ticks))
                rows.append(self.buses.values.copy())
            frames = self.catalogue.encode_block(np.array(rows), tuple(all_due), np.concatenate(counts))
            yield Frames(frames.tick + start, frames.message, frames.length, frames.data)

    @property
    def _transports(self) -> Mapping[str, EcuTransport | J1939Node]:
        if self._made is None:
            if self.vehicle.speaks == "j1939":
                self._made = {
                    name: J1939Node(ecu, self.catalogue.nodes[name].station, zlib.crc32(ecu.identification[0xF18C]))
                    for name, ecu in self.ecus.items()
                }
            else:
                self._made = {
                    name: EcuTransport(ecu, self._wire)
                    for name, ecu in self.ecus.items()
                    if ecu.request_id and ecu.response_id
                }
        return self._made

    @property
    def answer_ids(self) -> frozenset[int]:
        """Identifiers of its ECUs' diagnostic answers."""
        return frozenset(transport.response_id for transport in self._transports.values())

    def receive(self, frame: Frame, now_ns: int) -> None:
        """Takes a frame from the bus; ``now_ns`` is any monotonic clock, the same for every call."""
        for name, transport in self._transports.items():
            if not transport.wants(frame) or not self.is_heard(name):
                continue
            if self._wire.is_sound:
                transport.receive(frame, now_ns)
                self._busy[name] = transport
            else:
                self._wire.push(name, frame, now_ns, outward=False)
        message = self.catalogue.by_id.get((frame.can_id, frame.extended))
        if message is not None and len(frame.data) == message.length:
            self._hear(message, frame.data)

    def _hear(self, message: Broadcast, data: bytes) -> None:
        """Somebody else sends one of the car's own messages: the ECUs cannot tell, and believe it."""
        database = self.catalogue.databases[message.channel]
        values = database.decode_message(message.can_id, data, decode_choices=False)
        signals = {signal.name: signal for signal in database.get_message_by_frame_id(message.can_id).signals}
        heard: dict[str, float | None] = {}
        for name, value in values.items():
            codes = signals[name].choices or {}
            raw = round((value - signals[name].offset) / signals[name].scale)
            heard[name] = None if str(codes.get(raw)) == "SNA" else float(value)
        self.buses.hear(message, heard, self.plant.t_s)

    def answers(self, now_ns: int) -> list[Frame]:
        """Diagnostic frames that are due."""
        wire = self._wire
        for name, frame in wire.arrived(now_ns, outward=False):
            self._transports[name].receive(frame, now_ns)
            self._busy[name] = self._transports[name]
        out = []
        for name, transport in list(self._busy.items()):
            frames = transport.poll(now_ns)
            if frames and self.is_heard(name):
                if wire.is_sound:
                    out += frames
                for frame in frames if not wire.is_sound else ():
                    wire.push(name, frame, now_ns, outward=True)
            if transport.is_idle():
                del self._busy[name]
        return out + [frame for _, frame in wire.arrived(now_ns, outward=True)]

    def next_answer_ns(self, now_ns: int) -> int | None:
        """When :meth:`answers` has something to do again."""
        times = [at for transport in self._busy.values() if (at := transport.next_ns(now_ns)) is not None]
        if (arrives := self._wire.next_ns()) is not None:
            times.append(arrives)
        return min(times, default=None)
