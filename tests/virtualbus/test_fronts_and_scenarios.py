"""Where the car can be met, what is refused, and scenario files with and without mistakes."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import can
import pytest

import virtualbus
from virtualbus.car import Car
from virtualbus.errors import FrontBroken, FrontRefused, ScenarioBroken, ScenarioUnknown
from virtualbus.fronts import CanFront, FrontAddress, open_front, open_fronts, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario, load_scenario
from virtualbus.vehicles import VEHICLES

MULTICAST = f"239.74.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
"""A group that no other test process shares."""


def test_names_of_fronts():
    assert parse_front("slcan") == FrontAddress("slcan")
    assert parse_front("can:virtual:a:b") == FrontAddress("can", "virtual", "a:b")
    assert parse_front("can:vcan0") == FrontAddress("can", "socketcan", "vcan0")
    assert parse_front("can:can0") == FrontAddress("can", "socketcan", "can0")
    for text in ("", "can", "can:", "can:virtual", "slcan:x", "elm", "can::x", "doip:x", "elm327:x"):
        with pytest.raises(FrontBroken):
            parse_front(text)


@pytest.mark.parametrize(
    "front", ["can:socketcan:can0", "can:slcan:/dev/ttyACM0", "can:pcan:PCAN_USBBUS1", "can:kvaser:0"]
)
def test_a_bus_that_may_be_real_is_refused(front):
    with pytest.raises(FrontRefused, match="--bench"):
        open_front(parse_front(front))


def test_nothing_is_opened_when_one_front_is_refused():
    gc.collect()  # what other tests left to be closed does not count
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FrontRefused):
        open_fronts([FrontAddress("slcan"), parse_front("can:socketcan:can0")])
    with pytest.raises(FrontBroken):
        open_fronts([FrontAddress("slcan"), FrontAddress("can", "udp_multicast", "10.0.0.1")])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_multicast_never_leaves_this_machine():
    front = CanFront(FrontAddress("can", "udp_multicast", MULTICAST))
    try:
        assert front._bus._multicast.hop_limit == 0
    finally:
        front.stop()


def test_two_fronts_are_one_bus():
    fronts = open_fronts(
        [FrontAddress("can", "virtual", "two-fronts"), FrontAddress("can", "udp_multicast", MULTICAST)]
    )
    runner = CarRunner(Car(find_scenario("healthy"), 3), fronts)
    runner.start()
    try:
        with (
            can.Bus(interface="virtual", channel="two-fronts") as one,
            can.Bus(interface="udp_multicast", channel=MULTICAST, hop_limit=0) as other,
        ):
            one.send(can.Message(arbitration_id=0x7E4, data=b"\x02\x3e\x00", is_extended_id=False))
            seen = []
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                if (message := other.recv(0.05)) is not None and message.arbitration_id >= 0x7E0:
                    seen.append((message.arbitration_id, bytes(message.data[:3])))
    finally:
        runner.stop()
    assert seen == [(0x7E4, b"\x02\x3e\x00"), (0x7EC, b"\x02\x7e\x00")], "asked once, answered once, no echo"


def test_built_in_scenarios():
    assert virtualbus.scenarios()[0] == "healthy"
    assert {"weak-cell", "sampling-line", "isolation", "lost-bms", "software-mismatch"} < set(virtualbus.scenarios())
    vehicles = set()
    for name in virtualbus.scenarios():
        scenario = find_scenario(name)
        vehicles.add(scenario.vehicle)
        assert scenario.title.en
        assert scenario.title.zh
        assert bool(scenario.faults) == (name != "healthy" and name not in VEHICLES)
    assert vehicles == set(VEHICLES), "every kind of car has a scenario"


def test_a_file_sets_seed_and_faults(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('seed = 9\n[[faults]]\nkind = "weak-cell"\ncell = 31\ncapacity = 0.7\n', encoding="utf-8")
    scenario = find_scenario(str(path))
    assert scenario.seed == 9
    car = Car(scenario)
    assert car.seed == 9
    assert int(car.plant.pack.capacity_ah.argmin()) == 30


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("seed = \n", "line 1"),
        ('vehicle = "ev400"\ncolour = "red"\n', "line 2, key 'colour'"),
        ('vehicle = "golf"\n', "line 1, key 'vehicle'"),
        ("\nseed = -1\n", "line 2, key 'seed'"),
        ("seed = true\n", "line 1, key 'seed'"),
        ('title = { en = "x" }\n', "line 1, key 'title'"),
        ("faults = 3\n", "line 1, key 'faults'"),
        ('now = "fly"\n', "line 1, key 'now'"),
        ("[environment]\nambient_c = 99\n", "line 2, key 'ambient_c'"),
        ("[environment]\nwet = 1\n", "line 2, key 'wet'"),
        ("[environment]\nsnow = true\n", "line 2, key 'snow'"),
        ("[history]\nhealth = 0.1\n", "line 2, key 'health'"),
        ('[history]\nbms_version = "new"\n', "line 2, key 'bms_version'"),
        ('[[cycle]]\ndo = "fly"\nminutes = 3\n', "line 2, key 'do'"),
        ('[[cycle]]\ndo = "drive"\n', "line 1, key 'cycle'"),
        ('[[cycle]]\ndo = "park"\nminutes = 5\n[[cycle]]\ndo = "drive"\nminutes = 1\n', "line 6, key 'minutes'"),
        ('[[cycle]]\ndo = "drive"\nminutes = 9\nprofile = "sea"\n', "line 4, key 'profile'"),
        ('[[faults]]\nkind = "misfire"\n', "line 2, key 'kind'"),
        ('[[faults]]\nkind = "weak-cell"\nseverity = 2\n', "line 3, key 'severity'"),
        ('[[faults]]\nkind = "isolation"\nfrom_s = -1\n', "line 3, key 'from_s'"),
        ('[[faults]]\nkind = "lost-ecu"\necu = "ECM"\n', "line 3, key 'ecu'"),
        ('[[transport]]\nkind = "rust"\n', "line 2, key 'kind'"),
        ('[[transport]]\nkind = "delay"\nms = -3\n', "line 3, key 'ms'"),
        ('[[transport]]\nkind = "delay"\nshare = 0.3\n', "line 3, key 'share'"),
        ('[[transport]]\nkind = "delay"\necu = "ECM"\n', "line 3, key 'ecu'"),
        ('vehicle = "lfp104"\n[[faults]]\nkind = "weak-cell"\ncell = 105\n', "line 4, key 'cell'"),
        ('[[faults]]\nkind = "rust"\n', "line 2, key 'kind'"),
        ('[[faults]]\nkind = "weak-cell"\ncell = 97\n', "line 3, key 'cell'"),
        ('[[faults]]\nkind = "weak-cell"\ncell = 1\n[[faults]]\nkind = "weak-cell"\ncell = 0\n', "line 6, key 'cell'"),
        ('[[faults]]\nkind = "weak-cell"\ncell = 1.5\n', "line 3, key 'cell'"),
        ('[[faults]]\nkind = "isolation"\nleak = 1\n', "line 3, key 'leak'"),
        ('[[faults]]\nkind = "isolation"\nleak_ohm = "much"\n', "line 3, key 'leak_ohm'"),
        ('[[faults]]\nkind = "isolation"\nleak_ohm = nan\n', "line 3, key 'leak_ohm'"),
        ('[[faults]]\nkind = "software-mismatch"\nversion = "new"\n', "line 3, key 'version'"),
        ('[[faults]]\nkind = "software-mismatch"\ncell = "LFP"\n', "line 3, key 'cell'"),
    ],
)
def test_mistakes_are_refused_with_their_place(tmp_path, text, place):
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioBroken) as refused:
        load_scenario(path)
    assert place in str(refused.value)
    assert str(path) in str(refused.value)


def test_unreadable_files(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"\n')
    (tmp_path / "big.toml").write_bytes(b"#" * 70_000)
    for name in ("latin.toml", "big.toml"):
        with pytest.raises(ScenarioBroken):
            find_scenario(str(tmp_path / name))
    with pytest.raises(ScenarioUnknown, match="healthy"):
        find_scenario("no-such-thing")


def huizhen(*words: str, **kwargs) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "huizhen", "sim", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **kwargs)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("run", "--front", "can:socketcan:can0"), 7, "--bench"),
        (("run", "--front", "nothing"), 2, "nothing"),
        (("run", "--front", "slcan", "--scenario", "nothing"), 2, "nothing"),
        (("run", "--front", "slcan", "--duration", "0"), 2, "--duration"),
        (("show", "nothing"), 2, "nothing"),
        (("run",), 2, "--front"),
    ],
)
def test_command_refuses_in_one_line(words, code, says):
    done = huizhen(*words, "--lang", "en")
    assert done.returncode == code
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_command_lists_and_shows():
    listed = json.loads(huizhen("list", "--json").stdout)
    assert [item["name"] for item in listed["scenarios"]] == list(virtualbus.scenarios())
    shown = json.loads(huizhen("show", "isolation", "--json").stdout)
    assert shown["faults"][0]["kind"] == "isolation"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_runs_until_told_and_ends_cleanly(number):
    command = [sys.executable, "-m", "huizhen", "sim", "run", "--front", "slcan", "--scenario", "weak-cell"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        front = json.loads(process.stdout.readline())
        assert front["front"] == "slcan"
        with can.Bus(interface="slcan", channel=front["channel"], sleep_after_open=0.05) as bus:
            assert any(bus.recv(0.1) is not None for _ in range(20))
        process.send_signal(number)
        assert process.wait(10) == 0


def test_duration_ends_the_run():
    done = huizhen("run", "--front", "can:virtual:x", "--duration", "0.3")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"front": "can", "interface": "virtual", "channel": "x"}
