"""The T-box's messages: rtm-con (another team's parser) reads both editions, a platform of ours takes the line."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from rtm_con import con_to_pyobj, msg_checked

from virtualbus.car import Car
from virtualbus.errors import FrontRefused, Phrase
from virtualbus.fronts import open_front, parse_front
from virtualbus.gbt32960 import EDITIONS, Tbox
from virtualbus.runner import CarRunner
from virtualbus.scenario import Scenario, find_scenario

UTC_S = 1_795_766_331


def car_of(name: str, ticks: int = 150) -> Car:
    scenario = find_scenario(name)
    made = Car(scenario, 1)
    for _ in range(ticks):
        made.tick()
    return made


def number(text: str) -> float:
    return float(text.split(maxsplit=1)[0])


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("name", ["isolation", "ev800", "phev", "ebus"])
def test_another_teams_parser_reads_the_report(edition, name):
    car = car_of(name)
    (message,) = Tbox(car, edition).reports(UTC_S)
    told = con_to_pyobj(msg_checked.parse(message))
    assert told["starter"] == f"protocol_{edition}"
    assert told["vin"] == car.vin
    assert message[24:30].hex() == "1a0b1b0f3a33", "15:58:51 in China"
    units = {unit["data_type"]: unit["data_content"] for unit in told["payload"]["data_list"]}
    whole = units["whole_vehicle"]
    assert number(whole["voltage_total"]) == pytest.approx(car.bms.pack_v, abs=1.0)
    assert number(whole["current_total"]) == pytest.approx(car.bms.current_a, abs=3.0)
    assert number(whole["mileage_total"]) == pytest.approx(car.plant.odometer_km, abs=0.2)
    assert whole["charge_state"] == "uncharged"
    key = "cell_volts" if "cell_volts" in units else "min_parallel_unit_volts"
    cells = next(unit for kind, unit in units.items() if "volt" in kind)[0]
    volts = next(value for name, value in cells.items() if isinstance(value, list))
    assert len(volts) == car.vehicle.cells, key
    assert max(abs(number(volt) - true) for volt, true in zip(volts, car.plant.pack.terminal_v, strict=True)) < 0.01
    if edition == "2016" and name == "isolation":
        assert units["warnings"]["general_warnings"]["insulation_warning"] == 1
        assert units["warnings"]["max_warning_level"] == 3


def test_unit_08_of_2016_has_the_offset_of_its_edition():
    """rtm-con 1.0.4 reads it with -3000 A; the standard of 2016 says -1000 A (gbt.md section A4)."""
    car = car_of("isolation")
    (message,) = Tbox(car).reports(UTC_S)
    at = message.index(b"\x08\x01\x01")
    assert int.from_bytes(message[at + 5 : at + 7], "big") * 0.1 - 1000 == pytest.approx(car.bms.current_a, abs=3.0)


def test_login_and_logout_share_a_serial_and_the_check_byte_is_right():
    tbox = Tbox(car_of("healthy", 20))
    for message, kind in ((tbox.login(UTC_S), "login"), (tbox.logout(UTC_S), "logout")):
        told = con_to_pyobj(msg_checked.parse(message))
        assert told["msg_type"] == kind
        assert told["payload"]["session_id"] == 1
        check = 0
        for byte in message[2:-1]:
            check ^= byte
        assert check == message[-1]


def test_what_nobody_says_is_invalid_and_never_zero():
    car = Car(Scenario("x", Phrase("x", "x"), "ev400"), 1)
    car.buses.values[:] = float("nan")
    (message,) = Tbox(car).reports(UTC_S)
    body = message[30:50]
    assert body[0] == 0x01
    assert body[4:6] == b"\xff\xff", "speed"
    assert body[6:10] == b"\xff\xff\xff\xff", "odometer"
    assert body[14] == 0xFF, "state of charge"


def test_a_platform_gets_login_reports_and_logout():
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def platform() -> None:
            line, _ = server.accept()
            with line:
                first = line.recv(4096)
                heard.append(first)
                line.sendall(first[:3] + b"\x01" + first[4:22] + b"\x00\x06" + first[24:30] + b"\x00")
                while data := line.recv(65536):
                    heard.append(data)

        thread = threading.Thread(target=platform)
        thread.start()
        front = open_front(parse_front(f"gbt32960:127.0.0.1:{server.getsockname()[1]}"))
        runner = CarRunner(Car(find_scenario("isolation"), 1), [front])
        runner.start()
        time.sleep(2.5)
        runner.stop()
        thread.join(5)
    text = b"".join(heard)
    kinds = []
    while text:
        length = 25 + int.from_bytes(text[22:24], "big")
        kinds.append(text[2])
        text = text[length:]
    assert kinds[0] == 1
    assert kinds[-1] == 4
    assert set(kinds[1:-1]) == {2}
    assert len(kinds) >= 4, "one a second in an alarm"


def test_a_platform_elsewhere_needs_bench():
    with pytest.raises(FrontRefused):
        open_front(parse_front("gbt32960:10.0.0.9:9000"))
