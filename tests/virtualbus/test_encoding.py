"""Bits laid by NumPy against cantools' own encoding, for every message of every car."""

from __future__ import annotations

import hashlib

import cantools
import numpy as np
import pytest

from dbc.files import bundled
from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.network import crc8, load_catalogue
from virtualbus.scenario import Scenario
from virtualbus.transport import Frame
from virtualbus.vehicles import VEHICLES
from virtualbus.wire import TransportFault

VEHICLE_NAMES = list(VEHICLES)


def random_values(message, rng):
    """A physical value for every signal of one frame, on the grid of its scale and within its range."""
    out = {}
    for signal in message.signals:
        low = (signal.minimum - signal.offset) / signal.scale
        high = (signal.maximum - signal.offset) / signal.scale
        out[signal.name] = float(signal.offset + signal.scale * int(rng.integers(int(low), int(high) + 1)))
    return out


@pytest.mark.parametrize("name", VEHICLE_NAMES)
def test_every_message_is_as_cantools_encodes_it(name):
    vehicle = VEHICLES[name]
    catalogue = load_catalogue(vehicle.databases)
    rng = np.random.default_rng(8)
    for channel, path in enumerate(vehicle.databases):
        database = cantools.database.load_file(path, strict=True)
        for message in database.messages:
            ours = catalogue.by_name[message.name]
            assert ours.channel == channel
            for repeat in range(3):
                given = random_values(message, rng)
                for group in range(ours.groups):
                    selector = [signal.name for signal in message.signals if signal.is_multiplexer]
                    here = {**given, **dict.fromkeys(selector, group)}
                    here = {
                        signal.name: here[signal.name]
                        for signal in message.signals
                        if not signal.multiplexer_ids or group in signal.multiplexer_ids
                    }
                    count = int(rng.integers(1000))
                    if ours.data_id is not None:
                        here[f"{message.name}_Counter"] = count % 16
                        here[f"{message.name}_Checksum"] = 0
                    expected = bytearray(message.encode(here, strict=False, padding=ours.extended))
                    if ours.data_id is not None:
                        expected[-1] = crc8(ours.data_id + bytes(expected[:-1]))
                    values = np.full((1, catalogue.size), np.nan)
                    for signal, slot in ours.slots.items():
                        values[0, slot] = given[signal]
                    frames = catalogue.encode(values, ((0, ours.index, group),), np.array([count]))
                    got = frames.data[0, : message.length].tobytes()
                    assert got.hex() == bytes(expected).hex(), (message.name, group, repeat)


def test_frames_of_many_ticks_are_those_of_each_tick():
    catalogue = load_catalogue(VEHICLES["ev400"].databases)
    rng = np.random.default_rng(2)
    values = rng.uniform(0, 80, (3, catalogue.size))
    due = tuple(
        tuple((message.index, row % message.groups) for message in catalogue.messages[row::3]) for row in range(3)
    )
    counts = [np.array([row * 7 + index for index, _ in part]) for row, part in enumerate(due)]
    together = catalogue.encode_block(values, due, np.concatenate(counts))
    apart = [
        catalogue.encode(values[row : row + 1], tuple((0, *item) for item in part), counts[row])
        for row, part in enumerate(due)
    ]
    assert together.data.tobytes() == b"".join(part.data.tobytes() for part in apart)
    assert together.tick.tolist() == [row for row, part in enumerate(due) for _ in part]


def test_every_bundled_database_belongs_to_a_car():
    used = {path for vehicle in VEHICLES.values() for path in vehicle.databases}
    assert used == set(bundled())


@pytest.mark.parametrize("name", VEHICLE_NAMES)
def test_same_seed_same_bytes_for_every_kind_of_car_with_all_that_is_drawn(name):
    """Faults, error bursts, transport trouble and the DC talk draw from the seed and from nothing else."""

    def digest() -> str:
        faults = (make_fault("bus-errors"), make_fault("weak-cell"), make_fault("isolation-intermittent"))
        trouble = (TransportFault("loss", None, {"share": 0.2}), TransportFault("jitter", None, {"ms": 30.0}))
        scenario = Scenario(name, Phrase(name, name), name, faults, now="charge-dc", transport=trouble)
        car = Car(scenario, 12)
        hashed = hashlib.sha256()
        for tick in range(150):
            if tick % 20 == 0:
                request = Frame(0x7E4, bytes.fromhex("0322f19000000000"))
                car.receive(request, tick * 10_000_000)
            for frame in car.tick() + car.answers(tick * 10_000_000):
                hashed.update(frame.can_id.to_bytes(4, "big") + bytes([frame.channel]) + frame.data)
        return hashed.hexdigest()

    assert digest() == digest()
