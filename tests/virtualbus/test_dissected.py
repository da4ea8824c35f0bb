"""Other people's eyes on the frames: tshark dissects a talk, cantools reads the broadcast against the truth tap."""

from __future__ import annotations

import shutil
import subprocess

import cantools
import numpy as np
import pytest

from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.scenario import Scenario, find_scenario
from virtualbus.tap import Tap
from virtualbus.transport import Frame
from virtualbus.vehicles import VEHICLES

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def converse(car: Car, requests: list[tuple[int, str]]) -> list[Frame]:
    """Requests, answers and flow control in the order of the bus, broadcast in between."""
    out, now = [], 0
    for to, text in requests:
        payload = bytes.fromhex(text)
        out.append(Frame(to, bytes([len(payload)]) + payload.ljust(7, b"\xcc")))
        car.receive(out[-1], now)
        for _ in range(40):
            for frame in car.answers(now):
                out.append(frame)
                if frame.data[0] >> 4 == 1:
                    back = Frame(frame.can_id - 8, b"\x30\x00\x00" + b"\xcc" * 5)
                    out.append(back)
                    car.receive(back, now)
            now += 10_000_000
            out += car.tick()
    return out


def capture(frames: list[Frame], folder) -> str:
    """The frames as a SocketCAN capture, by text2pcap."""
    lines = []
    for at, frame in enumerate(frames):
        head = (frame.can_id | (1 << 31 if frame.extended else 0)).to_bytes(4, "big") + bytes(
            [len(frame.data), 0, 0, 0]
        )
        lines.append(f"0.{at:06d}\n0000 " + " ".join(f"{byte:02x}" for byte in head + frame.data))
    (folder / "talk.txt").write_text("\n".join(lines) + "\n")
    target = folder / "talk.pcap"
    subprocess.run(["text2pcap", "-q", "-l", "227", "-t", "%s.%f", folder / "talk.txt", target], check=True)
    return str(target)


@needs_tshark
def test_tshark_finds_nothing_malformed_in_iso_tp_uds_and_obd(tmp_path):
    car = Car(find_scenario("isolation"), 4)
    frames = converse(
        car,
        [
            (0x7DF, "0100"), (0x7E4, "0902"), (0x7E4, "03"), (0x7E0, "22f190"), (0x7E4, "1902ff"),
            (0x7E4, "19040aa61aff"), (0x7E4, "19060aa61aff"), (0x7E4, "1003"), (0x7E4, "3e00"), (0x720, "22f187"),
            (0x7E4, "190a"), (0x7E4, "22ffff"),
        ],
    )  # fmt: skip
    diagnostic = [frame for frame in frames if frame.can_id >= 0x700]
    path = capture(diagnostic, tmp_path)
    shown = subprocess.run(
        ["tshark", "-r", path, "-d", "can.subdissector,iso15765", "-d", "iso15765.subdissector,uds", "-V"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "Malformed" not in shown
    assert "Reassembly error" not in shown
    assert shown.count("Unified Diagnostic Services") > 12
    assert car.vin.encode().hex() in shown
    assert "Read DTC Information" in shown
    assert "response is pending" in shown


@needs_tshark
def test_tshark_reads_the_bus_as_j1939(tmp_path):
    car = Car(Scenario("bus", Phrase("bus", "bus"), "ebus"), 1)
    now, frames = 0, []
    car.receive(Frame(0x18EAFFF9, bytes.fromhex("ecfe00"), extended=True), 0)
    for _ in range(150):
        frames += car.tick() + car.answers(now)
        now += 10_000_000
    path = capture(frames, tmp_path)
    shown = subprocess.run(
        ["tshark", "-r", path, "-d", "can.subdissector,j1939", "-T", "fields", "-e", "j1939.pgn"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    groups = {line.split("\t")[0] for line in shown.splitlines()}
    assert {"61584", "61585", "65265", "65226", "60928", "60416", "60160"} <= groups
    whole = subprocess.run(
        ["tshark", "-r", path, "-d", "can.subdissector,j1939", "-V"], capture_output=True, text=True, check=True
    ).stdout
    assert "Malformed" not in whole


@pytest.mark.parametrize("name", VEHICLES)
def test_cantools_reads_the_broadcast_as_it_physically_was(name, tmp_path):
    """Broadcast against the ground truth, cell by cell, with nothing of ours in between."""
    pq = pytest.importorskip("pyarrow.parquet")
    vehicle = VEHICLES[name]
    car = Car(Scenario(name, Phrase(name, name), name), 6)
    path = tmp_path / "truth.parquet"
    databases = [cantools.database.load_file(file, strict=True) for file in vehicle.databases]
    seen: dict[str, float] = {}
    with Tap(path, car) as tap:
        for _ in range(250):
            for frame in car.tick():
                message = databases[frame.channel].get_message_by_frame_id(frame.can_id)
                seen |= message.decode(frame.data, decode_choices=False)
            tap.sample()
    truth = pq.read_table(path)
    cells = np.array([seen[f"CellVoltage_{at + 1:03d}"] for at in range(vehicle.cells)])
    true_v = np.array(truth["cell_v"].to_pylist())[-40:].mean(axis=0)
    assert np.abs(cells - true_v).max() < 0.008
    assert seen["PackVoltage"] == pytest.approx(truth["pack_v"][-1].as_py(), abs=1.5)
    assert seen["PackCurrent"] == pytest.approx(truth["current_a"][-1].as_py(), abs=2.5)
    told = truth.schema.metadata[b"huizhen.truth/1"]
    assert car.vin.encode() in told


def test_nothing_of_the_truth_is_on_the_bus_or_in_an_answer():
    car = Car(find_scenario("coolant-pump"), 1)
    frames = converse(car, [(0x7E7, "1902ff"), (0x7E7, "220160"), (0x7E0, "22f190")])
    text = b"".join(frame.data for frame in frames).lower()
    assert b"pump" not in text
    assert b"fault" not in text
    assert b"sound" not in text
