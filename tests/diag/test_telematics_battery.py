"""The battery by a car's own reports, against the same car read over its bus."""

from __future__ import annotations

import json

import pytest

from diag.carscan import scan
from diag.gbt32960 import Junk, decode_stream
from diag.telematicsbattery import batteries_from_telematics
from huizhen.cli import main
from huizhen.simlink import CarLink
from virtualbus.car import Car
from virtualbus.gbt32960 import Tbox
from virtualbus.scenario import find_scenario

UTC_S = 1_790_000_000.0


def reported(car: Car, edition: str, n: int = 3) -> bytes:
    box, out = Tbox(car, edition), b""
    for second in range(n):
        for _ in range(20):
            car.tick()
        out += b"".join(box.reports(UTC_S + 10 * second))
    return out


@pytest.mark.parametrize("edition", ["2016", "2025"])
@pytest.mark.parametrize("scenario", ["weak-cell", "lfp104"])
async def test_reports_and_bus_tell_the_same_battery(edition: str, scenario: str) -> None:
    data = reported(Car(find_scenario(scenario), 4), edition)
    messages = [one for one in decode_stream(data) if not isinstance(one, Junk)]
    (car,) = batteries_from_telematics(messages)
    async with CarLink(Car(find_scenario(scenario), 4)) as link:
        report = await scan(link, simulated=True)
    assert car.vin == report.vehicle.vin
    assert car.battery is not None
    assert report.battery is not None
    assert len(car.battery.cell_v) == len(report.battery.cell_v)
    assert car.battery.weakest_cell == report.battery.weakest_cell or scenario == "lfp104"
    assert car.battery.pack_v == pytest.approx(report.battery.pack_v, abs=3.0)
    assert car.battery.spread_mv == pytest.approx(report.battery.spread_mv, abs=6.0)
    codes = {finding.code for finding in car.findings}
    assert ("battery.cell-weak" in codes) is (scenario == "weak-cell")


@pytest.mark.parametrize("edition", ["2016", "2025"])
def test_a_large_pack_in_several_messages_is_put_together(edition: str) -> None:
    car = Car(find_scenario("ev800"), 4)
    messages = [one for one in decode_stream(reported(car, edition)) if not isinstance(one, Junk)]
    (told,) = batteries_from_telematics(messages)
    assert told.battery is not None
    assert len(told.battery.cell_v) == len(car.bms.cells_v) == 198
    assert told.battery.cell_v == pytest.approx(car.bms.cells_v, abs=0.02)


def test_what_is_not_reported_is_not_invented() -> None:
    car = Car(find_scenario("healthy"), 4)
    data = bytearray(Tbox(car).reports(UTC_S)[0])  # before the first frame on the bus: everything is invalid
    messages = [one for one in decode_stream(bytes(data)) if not isinstance(one, Junk)]
    (told,) = batteries_from_telematics(messages)
    assert told.battery is None or told.battery.pack_v is None or told.battery.pack_v > 100
    assert batteries_from_telematics([]) == ()


def test_two_cars_in_one_stream_are_kept_apart(tmp_path, capsys) -> None:
    place = tmp_path / "上报.bin"
    place.write_bytes(
        reported(Car(find_scenario("weak-cell"), 4), "2016") + reported(Car(find_scenario("healthy"), 5), "2025")
    )
    assert main(["telematics", "decode", "--battery", "--json", str(place)]) == 0
    cars = json.loads(capsys.readouterr().out)["cars"]
    assert sorted("battery.cell-weak" in [f["code"] for f in car["findings"]] for car in cars) == [False, True]
    assert main(["telematics", "decode", "--battery", "--lang", "zh", str(place)]) == 0
    assert "号单体弱于其余单体" in capsys.readouterr().out
