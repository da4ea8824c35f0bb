"""``huizhen sim list|record|fleet`` and ``--from``: what they write, that the same seed writes the same, bad input."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from dbc.recording import open_recording
from diag.carscan import scan
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.simlink import CarLink
from virtualbus.car import Car
from virtualbus.faults import FAULTS
from virtualbus.fleet import draw_fleet, label_of
from virtualbus.scenario import find_scenario
from virtualbus.vehicles import VEHICLES

if TYPE_CHECKING:
    from pathlib import Path


def test_lists_of_scenarios_vehicles_and_faults(capfd: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> dict:
        assert main(["sim", "list", "--json", *words]) == Exit.DONE
        return json.loads(capfd.readouterr().out)

    assert {row["name"] for row in told("--vehicles")["vehicles"]} == set(VEHICLES)
    assert {row["kind"] for row in told("--faults")["faults"]} == set(FAULTS)
    assert {row["vehicle"] for row in told()["scenarios"]} == set(VEHICLES)
    for lang, word in (("en", "busbar"), ("zh", "汇流排")):
        assert main(["sim", "list", "--lang", lang]) == Exit.DONE
        assert word in capfd.readouterr().out


@pytest.mark.parametrize("name", ["healthy", "ev800", "ebus"])
@pytest.mark.parametrize("ending", ["log", "blf"])
def test_a_recording_holds_the_frames_that_the_bus_would_have_carried(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"drive.{ending}"
    words = ["sim", "record", "--scenario", name, "--seed", "4", "--duration", "1", "-o"]
    assert main([*words, str(path)]) == Exit.DONE
    table = open_recording(path).table
    car = Car(find_scenario(name), 4)
    live = [frame for _ in range(100) for frame in car.tick()]
    assert len(table) == len(live)
    for row, frame in enumerate(live):
        assert int(table.can_id[row]) == frame.can_id
        assert table.data[row, : len(frame.data)].tobytes() == frame.data
    again = tmp_path / f"again.{ending}"
    assert main([*words, str(again)]) == Exit.DONE
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest()


def test_record_says_what_it_cannot_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "record", "-o", str(tmp_path / "drive.xyz")]) == Exit.USAGE
    assert main(["sim", "record", "-o", str(tmp_path / "no" / "drive.log")]) == Exit.USAGE
    assert main(["sim", "record", "--scenario", "nobody", "-o", str(tmp_path / "drive.log")]) == Exit.USAGE
    assert len(capfd.readouterr().err.strip().splitlines()) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_fleet_is_scanned_and_its_truth_kept_apart(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, truth = tmp_path / "fleet", tmp_path / "truth.jsonl"
    words = ["sim", "fleet", "--count", "6", "--seed", "3", "--jobs", "2", "-o", str(folder), "--truth", str(truth)]
    assert main([*words, "--json"]) == Exit.DONE
    assert json.loads(capfd.readouterr().out)["cars"] == 6
    known = [json.loads(line) for line in (folder / "fleet.jsonl").read_text("utf-8").splitlines()]
    told = [json.loads(line) for line in truth.read_text("utf-8").splitlines()]
    assert [row["number"] for row in known] == [row["number"] for row in told] == [1, 2, 3, 4, 5, 6]
    for row in known:
        text = (folder / row["report"]).read_text("utf-8")
        report = json.loads(text)
        assert report["schema"] == "huizhen.scan/1"
        assert report["simulated"] is True
        assert report["vehicle"]["vin"] == row["vin"]
        assert len(report["ecus"]) >= 12
        assert report["battery"]["cells"] == VEHICLES[row["vehicle"]].cells
        assert "severity" not in row
        assert "faults" not in row
        # "misfire" is the name of an emission monitor too.
        assert not any(f'"{name}"' in text for name in FAULTS if name != "misfire"), "no fault's name is in a report"
    assert main(words) == Exit.USAGE, "the folder is not empty"
    assert "empty" in capfd.readouterr().err


def test_the_same_seed_draws_the_same_fleet_and_a_longer_one_begins_alike() -> None:
    short, long = list(draw_fleet(20, 5)), list(draw_fleet(40, 5))
    for one, other in zip(short, long, strict=False):
        assert (one.known, one.seed) == (other.known, other.seed)
        kinds = [[(f.kind.name, f.severity, f.from_s) for f in car.scenario.faults] for car in (one, other)]
        assert kinds[0] == kinds[1]
    many = list(draw_fleet(2000, 6))
    assert len({car.known["batch"] for car in many}) == 24
    assert 0.2 < sum(bool(car.scenario.faults) for car in many) / 2000 < 0.5
    by_batch: dict[str, list[bool]] = {}
    for car in many:
        by_batch.setdefault(car.known["batch"], []).append(bool(car.scenario.faults))
    shares = [sum(found) / len(found) for found in by_batch.values()]
    assert max(shares) > min(shares) + 0.1, "some batches have a defect of their own"


def test_in_process_and_on_a_bus_the_same_car_is_read_alike(capfd: pytest.CaptureFixture[str]) -> None:
    async def in_process():
        async with CarLink(Car(find_scenario("weak-cell"), 1)) as link:
            return await scan(link, simulated=True, listen_s=0.0)

    report = asyncio.run(in_process()).to_json()
    assert main(["scan", "--demo", "--json"]) == Exit.DONE
    demo = json.loads(capfd.readouterr().out)
    for key in ("vehicle", "readiness"):
        assert report[key] == demo[key]
    assert {dtc["display"] for dtc in report["dtcs"]} == {dtc["display"] for dtc in demo["dtcs"]}
    assert [ecu["address"] for ecu in report["ecus"]] == [ecu["address"] for ecu in demo["ecus"]]
    assert report["battery"]["weakest"]["cell"] == demo["battery"]["weakest"]["cell"]


def test_labels_say_what_was_drawn() -> None:
    car = Car(find_scenario("weak-cell"), 1)
    (label,) = label_of(car)
    assert label["kind"] == "weak-cell"
    assert label["figures"]["cell"] == int(car.plant.pack.capacity_ah.argmin()) + 1
    assert label["danger"] in ("stop", "soon", "monitor", "low")
    assert label["cause"]["zh"]
    assert label["fix"]["en"]


def test_from_a_file_that_is_no_recording(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cases.jsonl").write_text("{}\n")
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    for name in ("cases.jsonl", "noise.bin", "missing.log"):
        assert main(["sim", "run", "--front", "slcan", "--from", str(tmp_path / name)]) == Exit.USAGE
        assert len(capfd.readouterr().err.strip().splitlines()) == 1
