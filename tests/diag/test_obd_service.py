"""OBD-II: the datasheet, the layouts of the answers, and a session with ECUs that differ."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_ecu import Rig, ScriptedEcu, answers_from_table

from diag.addressing import OBD_FUNCTIONAL
from diag.canbus import open_can
from diag.facts import Reading
from diag.obd import ObdSession, parse_items, parse_pids, parse_supported, parse_vehicle_information
from diag.pids import PID_LENGTHS, PIDS, decode_pid
from diag.readiness import parse_readiness
from diag.request import IsoTpLink, Timing

CHANNELS = (f"obd{n}" for n in itertools.count())
QUICK = Timing(answer_s=0.05, window_s=0.1)


def value(number: int, data: str, name: str | None = None) -> object:
    readings = decode_pid(number, bytes.fromhex(data))
    return next(reading.value for reading in readings if name in (None, reading.name))


@pytest.mark.parametrize(
    ("number", "data", "expected"),
    [
        (0x04, "80", 12800 / 255), (0x05, "00", -40), (0x05, "7B", 83), (0x06, "80", 0), (0x06, "00", -100),
        (0x0C, "1AF8", 1726), (0x0C, "FFFF", 16383.75), (0x0D, "50", 80), (0x0E, "00", -64), (0x0F, "46", 30),
        (0x10, "0190", 4.0), (0x11, "FF", 100), (0x1F, "0100", 256), (0x21, "0010", 16), (0x23, "0001", 10),
        (0x2F, "FF", 100), (0x30, "05", 5), (0x31, "0102", 258), (0x32, "FFFC", -1), (0x33, "65", 101),
        (0x3C, "0000", -40), (0x42, "36B0", 14.0), (0x43, "00FF", 100), (0x44, "8000", 1), (0x46, "28", 0),
        (0x49, "00", 0), (0x4D, "003C", 60), (0x4E, "0001", 1), (0x51, "08", 8), (0x5B, "80", 12800 / 255),
        (0x5C, "FF", 215), (0x5D, "6900", 0), (0x5E, "0014", 1), (0x61, "7D", 0), (0x63, "01F4", 500),
        (0xA6, "000F4240", 100000), (0xB2, "FF", 100), (0xD3, "0000000A", 1),
    ],
)  # fmt: skip
def test_the_formula_of_a_pid(number, data, expected):
    assert value(number, data) == pytest.approx(expected)


def test_values_without_support_bit_are_absent_not_zero():
    assert value(0x9A, "06000C800064", "tractionBatteryVoltage") == 50
    assert value(0x9A, "06000C80FF9C", "tractionBatteryCurrent") == -10
    assert value(0x9A, "04000C80FF9C", "tractionBatteryVoltage") is None
    assert value(0x9A, "06000C80FF9C", "hybridChargingState") is None
    assert value(0x67, "02285A", "coolantTemperature1") is None
    assert value(0x67, "02285A", "coolantTemperature2") == 50
    assert value(0xD2, "01FF00", "stateOfCertifiedEnergy") == 100
    assert value(0xD2, "01FF00", "stateOfCertifiedRange") is None
    assert value(0x14, "5AFF", "oxygenSensorB1S1FuelTrim") is None


def test_a_cut_value_is_absent_and_keeps_its_bytes():
    (reading,) = decode_pid(0x0C, b"\x1a")
    assert (reading.value, reading.raw) == (None, b"\x1a")
    assert decode_pid(0x66, b"\x03\x10")[0].value is None
    assert {reading.value for reading in decode_pid(0x9A, b"")} == {None}


def test_an_enumeration_keeps_its_number_and_says_what_it_means():
    (reading,) = decode_pid(0x51, b"\x08")
    assert (reading.value, reading.text.en, reading.text.zh) == (8, "fuel type: electric", "燃料类型：纯电")
    assert decode_pid(0x51, b"\xee")[0].text.en == "fuel type"


def test_a_pid_without_formula_shows_its_bytes():
    assert decode_pid(0xE7, b"\x01") == (Reading("pidE7", None, "", b"\x01"),)


def test_the_datasheet_is_consistent():
    names = [value.name for pid in PIDS.values() for value in pid.fields]
    assert len(names) == len(set(names))
    for pid in PIDS.values():
        assert PID_LENGTHS[pid.number] == pid.length
        for field in pid.fields:
            assert field.start + field.size <= pid.length
            assert field.text.en
            assert field.text.zh


@given(number=st.integers(0, 255), data=st.binary(max_size=50))
def test_any_bytes_decode_to_readings(number, data):
    for reading in decode_pid(number, data):
        assert reading.raw in data
        assert reading.value is None or isinstance(reading.value, (int, float))


OBDB_IS_WRONG = {
    0x06: "offset", 0x07: "offset", 0x08: "offset", 0x09: "offset", 0x14: "offset", 0x15: "offset", 0x18: "offset",
    0x19: "offset", 0x2D: "offset", 0x55: "offset", 0x56: "offset", 0x57: "offset", 0x58: "offset",
    0x69: "offset",  # -128 where the lowest value is -100
    0x24: "divisor 8196",
    0x44: "divisor 65535",
    0x5D: "offset in raw units",
}  # fmt: skip
OBDB_HAS_KPA = {0x32, 0x54}


def test_the_datasheet_agrees_with_an_independent_one(shared):
    """Conformity with OBDb's set, with every place where that set contradicts its own range listed above."""
    signals = {}
    for command in json.loads((shared / "data/obdb/SAEJ1979/default.json").read_text())["commands"]:
        for signal in command["signals"] if "01" in command["cmd"] else ():
            fmt = signal["fmt"]
            signals[int(command["cmd"]["01"], 16), fmt.get("bix", 0), fmt["len"]] = fmt
    compared, disagree = 0, set()
    for pid in PIDS.values():
        for field in pid.fields:
            fmt = signals.get((pid.number, field.start * 8, field.size * 8))
            if fmt is None or field.bits:
                continue
            compared += 1
            for raw in (0, 1, 5, (1 << 8 * field.size - 1) - 1, 1 << 8 * field.size - 1, (1 << 8 * field.size) - 2):
                signed = raw - (1 << 8 * field.size) if fmt.get("sign") and raw >> 8 * field.size - 1 else raw
                theirs = signed * fmt.get("mul", 1) / fmt.get("div", 1) + fmt.get("add", 0)
                theirs *= 1000 if pid.number in OBDB_HAS_KPA else 1
                data = bytearray([0xFF]).ljust(pid.length, b"\0")
                data[field.start : field.start + field.size] = raw.to_bytes(field.size, "big")
                if field.decode(bytes(data)).value != pytest.approx(theirs):
                    disagree.add(pid.number)
    assert compared > 90
    assert disagree == set(OBDB_IS_WRONG)


def test_bitmaps_of_the_standard():
    assert parse_supported(0, bytes.fromhex("BE1FA813")) == {
        1, 3, 4, 5, 6, 7, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11, 0x13, 0x15, 0x1C, 0x1F, 0x20,
    }  # fmt: skip
    assert parse_supported(0x40, b"\x80\0\0\1") == {0x41, 0x60}
    assert parse_supported(0, b"\x80") == {1}


@given(base=st.sampled_from(range(0, 256, 32)), numbers=st.frozensets(st.integers(1, 32)))
def test_a_bitmap_names_what_was_put_in(base, numbers):
    bits = sum(1 << 32 - number for number in numbers)
    assert parse_supported(base, bits.to_bytes(4, "big")) == {base + number for number in numbers}


def test_several_pids_in_one_answer():
    payload = bytes.fromhex("410D500C1AF8057B")
    assert parse_items(payload, service=1) == {0x0D: b"\x50", 0x0C: b"\x1a\xf8", 0x05: b"\x7b"}
    assert [(reading.name, reading.value) for reading in parse_pids(payload, {5, 0x0C, 0x0D})] == [
        ("vehicleSpeed", 80),
        ("engineSpeed", 1726),
        ("coolantTemperature", 83),
    ]
    assert parse_items(bytes.fromhex("420C001AF80D0050"), service=2, header=b"\0") == {0x0C: b"\x1a\xf8", 0x0D: b"\x50"}
    assert parse_items(bytes.fromhex("410D50E71234"), service=1) == {0x0D: b"\x50", 0xE7: b"\x12\x34"}
    assert parse_items(bytes.fromhex("410D500C1A"), service=1) == {0x0D: b"\x50"}
    assert parse_items(bytes.fromhex("416D0102030405"), service=1, is_single=True) == {0x6D: bytes(range(1, 6))}
    for text in ("", "41", "7F0112", "420D50"):
        assert parse_items(bytes.fromhex(text), service=1) == {}


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("4106800C0781000C1AF8", {0x06, 0x07, 0x0C}),  # trims of two bytes each
        ("41068007810C1AF8", {0x06, 0x0C}),  # 07 was not asked for
        ("410D500D50", {0x0D}),  # twice
        ("410D500C1A", {0x0C, 0x0D}),  # cut
        ("410D50E71234", {0x0D, 0xE7}),  # nobody knows how long E7 is
        ("410D5000", {0x0D}),  # one byte more
    ],
)
def test_an_answer_that_does_not_come_out_even_counts_for_nothing(text, asked):
    assert parse_items(bytes.fromhex(text), service=1, asked=asked) == {}


def test_a_frozen_value_has_the_frame_that_was_asked_for():
    assert parse_items(bytes.fromhex("420600800D0700"), service=2, header=b"\0", asked={6, 0x0D}) == {}
    assert parse_items(bytes.fromhex("420C011AF8"), service=2, header=b"\0", is_single=True) == {}
    assert parse_items(bytes.fromhex("420D0050"), service=2, header=b"\0", asked={0x0D}) == {0x0D: b"\x50"}


def test_monitors_of_spark_and_compression():
    spark = parse_readiness(bytes.fromhex("8307E5E1"))
    assert (spark.mil_on, spark.codes, spark.ignition, spark.is_ready) == (True, 3, "spark", False)
    states = {monitor.name: monitor.is_complete for monitor in spark.monitors if monitor.is_supported}
    assert states == {
        "misfire": True, "fuelSystem": True, "comprehensiveComponents": True, "catalyst": False,
        "evaporativeSystem": True, "oxygenSensor": False, "oxygenSensorHeater": False, "egrOrVvt": False,
    }  # fmt: skip
    compression = parse_readiness(bytes.fromhex("000E8B00"))
    assert (compression.mil_on, compression.ignition, compression.is_ready) == (False, "compression", True)
    assert [m.name for m in compression.monitors if m.is_supported] == [
        "fuelSystem", "comprehensiveComponents", "nmhcCatalyst", "noxAftertreatment", "boostPressure", "egrOrVvt",
    ]  # fmt: skip


def test_an_electric_car_without_monitors_is_not_called_ready():
    electric = parse_readiness(bytes.fromhex("00000000"))
    assert (electric.is_applicable, electric.is_ready, electric.ignition) == (False, None, None)
    assert electric.to_json()["applicable"] is False
    assert electric.to_json()["ready"] is None
    cycle = parse_readiness(bytes.fromhex("00070000"), is_drive_cycle=True)
    assert (cycle.mil_on, cycle.codes) == (None, None)
    assert parse_readiness(b"\0\0\0") is None


def test_vehicle_information_strips_padding_only():
    vin = b"\x01" + b"\0\0\0" + b"1HGCM82633A004352"
    info = parse_vehicle_information(
        "0x7E8",
        {
            2: vin,
            4: b"\x02" + b"CAL-1".ljust(16, b"\0") + b"CAL-2 ".ljust(16, b"\0"),
            6: b"\x02" + bytes.fromhex("1791BC8216E062BE"),
            10: b"\x01" + b"ECM\0-EngineControl".ljust(20, b"\0"),
        },
    )
    assert info.vin == "1HGCM82633A004352"
    assert info.calibration_ids == ("CAL-1", "CAL-2")
    assert info.cvns == ("1791BC82", "16E062BE")
    assert info.name == "ECM-EngineControl"
    assert parse_vehicle_information("x", {2: b"\x01" + b"\xff" * 17}).vin is None
    assert parse_vehicle_information("x", {2: b"\x01" + b"\x01" * 17}).vin == "01" * 17
    assert parse_vehicle_information("x", {}).name is None


COMBUSTION = {
    "0100": "4100981B8011", "0120": "412080000000", "0101": "410100076500",
    "01010405": "410100076500", "010104050C0D0F": "410D500C1AF8", "01111C20": "410112",
    "0104": "410480", "0105": "41057B", "010F": "7F0131", "0111": "411180", "011C": "411C06", "0121": "41210005",
    "0200": "7F0212", "020200": "4202000AA6", "020000": "42000098180000",
    "02010004000500": "4204008005007B",
    "020C000D00": "420C001AF80D0050", "020100": "42010000076500",
    "0900": "490054400000", "0902": "490201" + b"LHZEV400XP0000001".hex(), "0904": "490401" + "41" * 16,
    "0906": "7F0922", "090A": "490A01" + b"VCU\0-VehicleControl".ljust(20, b"\0").hex(),
    "03": "430200420AA6", "07": "4700", "0A": "4A00",
}  # fmt: skip
ELECTRIC = {"0100": "410080000001", "0120": "412000000001", "0140": "414000000020", "0101": "410100000000",
            "015B": "415B80", "0902": "490201" + "00" * 17, "03": "4300"}  # fmt: skip


@pytest.fixture
async def session():
    channel = next(CHANNELS)
    ecus = [
        ScriptedEcu(0x7E0, 0x7E8, answers_from_table(COMBUSTION)),
        ScriptedEcu(0x7E4, 0x7EC, answers_from_table(ELECTRIC)),
        ScriptedEcu(0x7E5, 0x7ED, lambda _: []),
    ]
    with Rig(channel, *ecus):
        async with await open_can("virtual", channel) as link, IsoTpLink(link, timing=QUICK) as requests:
            yield ObdSession(requests)


async def test_each_ecu_has_its_own_map(session):
    first, second = await session.find_ecus()
    assert (first.ecu, second.ecu) == ("0x7E8", "0x7EC")
    assert first.pids == {0x01, 0x04, 0x05, 0x0C, 0x0D, 0x0F, 0x10, 0x11, 0x1C, 0x21}
    assert second.pids == {0x01, 0x5B}


async def test_current_data_with_refusals_and_silence_apart(session):
    first, second = await session.find_ecus()
    answers = await session.read_pids(first, [0x01, 0x04, 0x05, 0x0C, 0x0D, 0x0F, 0x11])
    values = {reading.name: reading.value for reading in answers.readings}
    assert values["engineSpeed"] == 1726
    assert values["vehicleSpeed"] == 80
    assert values["coolantTemperature"] == 83
    assert answers.refused[0x0F].nrc == 0x31
    assert "intakeAirTemperature" not in values
    assert answers.silent == ()
    assert {r.name: r.value for r in (await session.read_pids(second)).readings} == {
        "tractionBatteryCharge": pytest.approx(50.2, abs=0.01)
    }


async def test_readiness_per_ecu(session):
    first, second = await session.find_ecus()
    assert (await session.read_readiness(first)).is_ready is True
    assert (await session.read_readiness(second)).is_applicable is False


async def test_freeze_frame(session):
    first, second = await session.find_ecus()
    frame = await session.read_freeze_frame(first)
    assert (frame.code, frame.ecu, frame.frame) == ("P0AA6", "0x7E8", 0)
    assert {reading.name: reading.value for reading in frame.readings} == {
        "calculatedLoad": pytest.approx(50.2, abs=0.01),
        "coolantTemperature": 83,
        "engineSpeed": 1726,
        "vehicleSpeed": 80,
    }
    assert frame.raw.startswith(b"\x0a\xa6")
    assert await session.read_freeze_frame(second) is None


async def test_codes_come_back_raw_and_per_ecu(session):
    assert {answer.ecu: answer.payload for answer in await session.read_codes(0x03)} == {
        "0x7E8": bytes.fromhex("430200420AA6"),
        "0x7EC": b"\x43\x00",
    }
    assert [answer.ecu for answer in await session.read_codes(0x0A)] == ["0x7E8"]
    first, *_ = await session.find_ecus()
    assert len(await session.read_codes(0x07, first.target)) == 1


async def test_vehicle_information(session):
    first, second = await session.find_ecus()
    info = await session.read_vehicle_information(first.target)
    assert (info.vin, info.name) == ("LHZEV400XP0000001", "VCU-VehicleControl")
    assert info.calibration_ids == ("A" * 16,)
    assert (info.refused[0x06].nrc, info.cvns) == (0x22, ())
    assert (await session.read_vehicle_information(second.target)).vin is None


TRIMS = {0x06: "800C", 0x07: "8100", 0x0C: "1AF8", 0x0D: "50"}


def an_ecu_with_trims_of_two_bytes(request):
    """Fuel trims of banks 1 and 3, in current data and in the freeze frame."""
    if request in (b"\x01\0", b"\x02\0\0"):
        return [bytes([request[0] | 0x40]) + request[1:] + bytes.fromhex("06180000")]
    if request == b"\x02\x02\0":
        return [bytes.fromhex("4202000AA6")]
    step, mark = (1, b"") if request[0] == 1 else (2, b"\0")
    items = (bytes([number]) + mark + bytes.fromhex(TRIMS[number]) for number in request[1::step] if number in TRIMS)
    return [bytes([request[0] | 0x40]) + b"".join(items)]


async def test_a_value_of_unexpected_length_shifts_nothing_into_others():
    channel = next(CHANNELS)
    with Rig(channel, ScriptedEcu(0x7E0, 0x7E8, an_ecu_with_trims_of_two_bytes)):
        async with await open_can("virtual", channel) as link, IsoTpLink(link, timing=QUICK) as requests:
            session = ObdSession(requests)
            (found,) = await session.find_ecus()
            now = {reading.name: reading.value for reading in (await session.read_pids(found)).readings}
            frame = await session.read_freeze_frame(found)
    frozen = {reading.name: reading.value for reading in frame.readings}
    assert now == frozen
    assert (now["engineSpeed"], now["vehicleSpeed"]) == (1726, 80)
    assert now["shortTermFuelTrimBank1"] == 0


async def test_a_dead_bus_gives_nothing_and_no_error():
    async with await open_can("virtual", next(CHANNELS)) as link, IsoTpLink(link, timing=QUICK) as requests:
        session = ObdSession(requests)
        assert await session.find_ecus() == ()
        assert await session.read_codes(0x03, OBD_FUNCTIONAL) == ()
