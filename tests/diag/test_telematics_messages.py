"""GB/T 32960 taken apart: the vector, another team's parser on the same bytes, damaged streams, long packs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtm_con import con_to_pyobj, msg_checked

from diag.gbt32960 import Junk, TelematicsMessage, decode_stream, merge_cells
from virtualbus.car import Car
from virtualbus.gbt32960 import EDITIONS, Tbox
from virtualbus.scenario import find_scenario

UTC_S = 1_795_766_331
CHINA = timezone(timedelta(hours=8))
VECTOR = bytes.fromhex(
    "232302FE4C544553543030303030303030303030310100291A0B16081E000101030102580001E240"
    "0E47280A50012E09C41400070200000C00010000012300000082"
)


def message(units: bytes, *, start: bytes = b"##", command: int = 2, encryption: int = 1) -> bytes:
    data = bytes.fromhex("1a0b16081e00") + units
    rest = bytes([command, 0xFE]) + b"LTEST000000000001" + bytes([encryption]) + len(data).to_bytes(2, "big") + data
    check = 0
    for byte in rest:
        check ^= byte
    return start + rest + bytes([check])


def one(data: bytes) -> TelematicsMessage:
    (found,) = decode_stream(data)
    assert isinstance(found, TelematicsMessage)
    return found


def values(found: TelematicsMessage, unit: str) -> dict[str, object]:
    told = found.find(unit)
    assert told is not None
    return {item.name: item.value for item in told.fields}


def test_the_vector() -> None:
    """Standard: GB/T 32960.3-2016, unit types 01 and 07."""
    found = one(VECTOR)
    assert (found.edition, found.command, found.vin) == ("2016", 2, "LTEST000000000001")
    assert found.time == datetime(2026, 11, 22, 8, 30, tzinfo=CHINA)
    assert values(found, "vehicle") == {
        "vehicle_state": "on", "charge_state": "not-charging", "mode": "electric", "speed": 60.0,
        "odometer": 12345.6, "voltage": 365.5, "current": 25.0, "soc": 80.0, "dcdc": "on", "gear": "D",
        "insulation": 2500.0, "accelerator": 20.0, "brake": 0.0,
    }  # fmt: skip
    alarms = values(found, "alarms")
    assert alarms["level"] == 2.0
    assert alarms["alarms"] == "poor consistency of the cells, insulation"
    assert alarms["battery_faults"] == "00000123"
    assert found.problems == ()
    assert found.rest == b""


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("name", ["isolation", "ev800", "phev", "ebus"])
def test_another_teams_parser_says_the_same(edition: str, name: str) -> None:
    car = Car(find_scenario(name), 1)
    for _ in range(150):
        car.tick()
    for raw in Tbox(car, edition).reports(UTC_S):
        theirs = con_to_pyobj(msg_checked.parse(raw))
        ours = one(raw)
        assert ours.problems == ()
        assert ours.vin == theirs["vin"]
        units = {unit["data_type"]: unit["data_content"] for unit in theirs["payload"]["data_list"]}
        vehicle, whole = values(ours, "vehicle"), units["whole_vehicle"]
        for mine, other in (("voltage", "voltage_total"), ("current", "current_total"), ("odometer", "mileage_total")):
            assert vehicle[mine] == pytest.approx(float(whole[other].split()[0]), abs=1e-6)
        cells = next(unit for kind, unit in units.items() if "volt" in kind)[0]
        volts = next(value for value in cells.values() if isinstance(value, list))
        assert values(ours, "cells")["1.cells"] == pytest.approx(
            tuple(float(volt.split()[0]) for volt in volts), abs=1e-6
        )


@pytest.mark.parametrize("edition", EDITIONS)
def test_login_and_logout(edition: str) -> None:
    car = Car(find_scenario("healthy"), 1)
    box = Tbox(car, edition)
    login, logout, beat = one(box.login(UTC_S)), one(box.logout(UTC_S)), one(box.heartbeat())
    told = values(login, "login")
    assert told["iccid"] == "89860000000000000000"
    assert told["serial"] == values(logout, "logout")["serial"]
    assert (login.rest, logout.rest, beat.rest) == (b"", b"", b"")
    assert (beat.command, beat.units) == (7, ())


def test_markers_are_no_numbers() -> None:
    found = one(message(bytes.fromhex("01 FE FF 01 FFFF FFFFFFFE FFFE FFFF FF FE FF FFFF FE FF")))
    assert [item.value for item in found.units[0].fields] == [None, None, "electric", *[None] * 10]
    assert [item.quality for item in found.units[0].fields[:6]] == [
        "abnormal", "invalid", "ok", "invalid", "abnormal", "abnormal",
    ]  # fmt: skip
    empty = one(message(bytes.fromhex("09 01 01 FFFF")))
    assert values(empty, "probes") == {"subsystems": 1.0, "1.probe_count": None, "1.probes": ()}


def test_a_type_means_what_its_edition_says() -> None:
    unit = bytes.fromhex("06 01 02 1000 01 03 0E00 01 04 50 01 05 40")
    assert values(one(message(unit)), "extremes")["highest_cell_voltage"] == 4.096
    assert one(message(bytes.fromhex("06 03 00800800 00 00 00 00 01 0B 03"), start=b"$$")).find("alarms") is not None


def test_384_cells_come_in_two_messages() -> None:
    def part(first: int, count: int) -> bytes:
        head = bytes.fromhex("08 01 01 0E47 2710 0180") + first.to_bytes(2, "big") + bytes([count])
        return message(head + b"".join((3000 + first + at).to_bytes(2, "big") for at in range(count)))

    found = [one(part(1, 200)), one(part(201, 184))]
    ((key, cells),) = merge_cells(found).items()
    assert key == (datetime(2026, 11, 22, 8, 30, tzinfo=CHINA), 1)
    assert cells == pytest.approx(tuple((3001 + at) / 1000 for at in range(384)))
    ((_, half),) = merge_cells(found[1:]).items()
    assert half[:200] == (None,) * 200
    assert len(half) == 384


def test_a_makers_unit_is_stepped_over_and_an_unknown_one_ends_the_message() -> None:
    found = one(message(bytes.fromhex("80 0003 010203 05 00 06CB8080 01D905C0")))
    assert values(found, "custom") == {"data": "010203"}
    assert values(found, "position") == {"status": "fix", "longitude": 114.0, "latitude": 31.0}
    stopped = one(message(bytes.fromhex("04 01 0BB8 0064 0A 01 02")))
    assert stopped.find("engine") is not None
    assert stopped.rest.hex() == "0a0102"
    assert "0x0A" in stopped.problems[0].en


def test_cut_units_encrypted_data_and_impossible_times_are_said() -> None:
    cut = one(message(bytes.fromhex("01 01 03 01 0258")))
    assert cut.problems[0].en == "unit 0x01 is cut"
    assert values(cut, "vehicle")["speed"] == 60.0
    secret = one(message(b"\x01\x02", encryption=3))
    assert secret.units == ()
    assert secret.problems[0].en == "the data are encrypted"
    assert secret.rest
    raw = bytearray(message(b""))
    raw[25], raw[-1] = 13, raw[-1] ^ 0x0B ^ 13
    assert one(bytes(raw)).time is None
    assert one(bytes(raw)).problems[0].en == "its time is impossible"


def test_a_stream_goes_on_behind_damage() -> None:
    broken = bytearray(VECTOR)
    broken[40] ^= 1
    found = list(decode_stream(b"\0noise" + VECTOR + bytes(broken) + VECTOR + VECTOR[:30]))
    kinds = ["junk" if isinstance(part, Junk) else "message" for part in found]
    assert kinds == ["junk", "message", "junk", "message", "junk"]
    whys = [part.why.en for part in found if isinstance(part, Junk)]
    assert whys == ["no message begins here", "the check byte is wrong", "a message is cut"]


def test_a_megabyte_of_beginnings_is_no_trap() -> None:
    """Every byte begins a message of nine thousand bytes; summed up one by one that would take an hour."""
    data = b"#" * 999_999 + b"\0"
    assert b"".join(part.raw for part in decode_stream(data)) == data


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(VECTOR), st.just(b"##"), st.just(b"$$")), max_size=8))
def test_no_byte_is_lost_and_only_declared_errors_come_out(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert b"".join(part.raw for part in decode_stream(data)) == data


@given(st.binary(max_size=120), st.sampled_from([b"##", b"$$"]), st.integers(0, 255))
def test_any_data_in_a_sound_message(units: bytes, start: bytes, command: int) -> None:
    found = one(message(units, start=start, command=command))
    found.to_json()
    merge_cells([found])
