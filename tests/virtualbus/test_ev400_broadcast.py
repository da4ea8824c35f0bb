"""The frames are what the DBC says: cantools reads them back, counters and checksums hold."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict

import cantools
import numpy as np
import pytest

from dbc.files import EV400, bundled
from virtualbus.car import TICK_NS, Car
from virtualbus.network import crc8, load_catalogue
from virtualbus.scenario import find_scenario


@pytest.fixture(scope="module")
def database():
    return cantools.database.load_file(EV400, strict=True)


@pytest.fixture(scope="module")
def second():
    """A sound car and two seconds of its frames, with their tick."""
    car = Car(find_scenario("healthy"), 4)
    return car, [(tick, frame) for tick in range(200) for frame in car.tick()]


def crc_bit_by_bit(data: bytes) -> int:
    value = 0xFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1) ^ 0x1D if value & 0x80 else value << 1
            value &= 0xFF
    return value ^ 0xFF


def test_crc_is_sae_j1850():
    assert crc8(b"123456789") == 0x4B
    assert crc8(b"") == 0x00
    for length in range(1, 12):
        data = bytes((37 * index + length) & 0xFF for index in range(length))
        assert crc8(data) == crc_bit_by_bit(data)


def test_the_database_is_bundled_and_loads_strictly(database):
    assert EV400 in bundled()
    assert {node.name for node in database.nodes} >= {"VCU", "INV", "BMS", "OBC", "ESC", "TMS", "DCDC"}


def test_nodes_carry_their_diagnostic_addresses():
    nodes = load_catalogue((EV400,)).nodes
    pairs = {name: (node.request_id, node.response_id) for name, node in nodes.items()}
    own = {name: pairs[name] for name in ("VCU", "INV", "BMS", "OBC")}
    assert len(set(pairs.values())) == len(pairs) >= 10
    assert own == {"VCU": (0x7E0, 0x7E8), "INV": (0x7E1, 0x7E9), "BMS": (0x7E4, 0x7EC), "OBC": (0x7E5, 0x7ED)}


def test_database_has_both_byte_orders_a_signed_signal_and_all_cells(database):
    signals = [signal for message in database.messages for signal in message.signals]
    assert {signal.byte_order for signal in signals} == {"little_endian", "big_endian"}
    assert any(signal.is_signed for signal in signals)
    names = {signal.name for signal in signals}
    assert {f"CellVoltage_{cell:03d}" for cell in range(1, 97)} <= names
    assert {f"CellTemp_{probe:02d}" for probe in range(1, 17)} <= names


def test_not_available_is_all_ones_everywhere(database):
    for message in database.messages:
        for signal in message.signals:
            codes = [code for code, text in (signal.choices or {}).items() if str(text) == "SNA"]
            assert codes in ([], [2**signal.length - 1]), signal.name


def test_every_message_is_sent_at_its_cycle_time(database, second):
    ticks = defaultdict(list)
    for tick, frame in second[1]:
        ticks[frame.can_id].append(tick)
    for message in database.messages:
        seen = ticks[message.frame_id]
        gaps = set(np.diff(seen))
        assert gaps == {message.cycle_time * 1_000_000 // TICK_NS}, message.name
        assert len(seen) >= 2000 // message.cycle_time - 1


def test_every_protected_frame_has_its_checksum_and_counts_up(database, second):
    counters = defaultdict(list)
    for _, frame in second[1]:
        message = database.get_message_by_frame_id(frame.can_id)
        attributes = message.dbc.attributes
        if "E2EDataId" not in attributes:
            assert not any(signal.name.endswith("_Checksum") for signal in message.signals)
            continue
        values = message.decode(frame.data, decode_choices=False)
        data_id = attributes["E2EDataId"].value.to_bytes(2, "little")
        assert values[f"{message.name}_Checksum"] == crc_bit_by_bit(data_id + frame.data[:-1])
        counters[message.name].append(values[f"{message.name}_Counter"])
    assert len(counters) == 19
    for name, seen in counters.items():
        assert all((b - a) % 16 == 1 for a, b in itertools.pairwise(seen)), name


def test_cells_of_one_sample_add_up_to_the_pack(database, second):
    cells, pack = {}, []
    for _, frame in second[1]:
        values = database.decode_message(frame.can_id, frame.data, decode_choices=False)
        cells |= {name: value for name, value in values.items() if name.startswith("CellVoltage_")}
        if "PackVoltage" in values:
            pack.append(values["PackVoltage"])
    assert len(cells) == 96
    assert sum(cells.values()) == pytest.approx(np.median(pack), abs=1.5)
    truth = second[0].plant.pack.terminal_v
    for index in range(96):
        assert cells[f"CellVoltage_{index + 1:03d}"] == pytest.approx(truth[index], abs=0.008)


def test_what_the_charger_does_not_know_is_not_available(database, second):
    frame = next(frame for _, frame in second[1] if frame.can_id == 0x200)
    values = database.decode_message(frame.can_id, frame.data)
    assert str(values["MainsVoltage"]) == "SNA"
    assert str(values["PlugState"]) == "Unplugged"


def test_out_of_range_and_missing_values_become_not_available(database):
    catalogue = load_catalogue((EV400,))
    pack = catalogue.by_name["BMS_Pack"]
    values = np.full((1, catalogue.size), np.nan)
    values[0, pack.slots["PackCurrent"]] = 1e6
    values[0, pack.slots["StateOfCharge"]] = 50.0
    frames = catalogue.encode(values, ((0, pack.index, 0),), np.array([3]))
    decoded = database.decode_message("BMS_Pack", frames.data[0].tobytes())
    assert str(decoded["PackVoltage"]) == str(decoded["PackCurrent"]) == "SNA"
    assert decoded["StateOfCharge"] == pytest.approx(50.0)
    assert decoded["BMS_Pack_Counter"] == 3


def digest(seed: int, scenario: str = "healthy") -> str:
    car = Car(find_scenario(scenario), seed)
    hashed = hashlib.sha256()
    for _ in range(120):
        for frame in car.tick():
            hashed.update(frame.can_id.to_bytes(2, "big") + frame.data)
    hashed.update(car.plant.pack.terminal_v.tobytes())
    return hashed.hexdigest()


def test_same_seed_same_bytes_other_seed_another_car():
    assert digest(11) == digest(11)
    assert digest(11) != digest(12)
    assert digest(11) != digest(11, "weak-cell")
