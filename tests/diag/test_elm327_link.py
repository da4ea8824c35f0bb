"""Requests through an ELM327: python-OBD drives the simulated adapter and its clones; scripted lines for the rest."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from diag.addressing import OBD_FUNCTIONAL, Target
from diag.carscan import scan
from diag.elm327 import Elm327Link, open_elm327, parse_elm327_port
from diag.errors import LinkLost, LocalProtocolError, NoAdapter, NoAnswer, RefusedByPolicy, RemoteProtocolError
from diag.guard import TransmitGuard
from diag.serialport import PortClaim
from diag.vehiclereport import LinkInfo
from huizhen.simlink import CarLink
from virtualbus.car import Car
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytest.importorskip("obd", reason="python-OBD is optional")

BMS = Target.physical(0x7E4)
SCRIPT = """
import json, sys, time
lines = json.loads(sys.argv[1])
print(json.dumps({"protocol": sys.argv[2], "chip": ["ELM327 v9"], "supply": ["12.4V"]}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    asked = request.get("send", "")
    with open(sys.argv[3], "a") as log:
        log.write(asked + "\\n")
    said = lines.get(asked, ["OK"] if asked.startswith("AT") else ["NO DATA"])
    if said and isinstance(said[0], list):
        said = said.pop(0)
    if said == ["exit"]:
        sys.exit(1)
    if said and said[0] == "slow":
        time.sleep(0.3)
    print(json.dumps({"id": request["id"], "lines": said}), flush=True)
"""


@pytest.fixture(scope="module", params=["v2.2", "clone-1.5", "clone-2.1", "clone-wifi"])
def adapter(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    front = open_front(parse_front(f"elm327:0:{request.param}"))
    runner = CarRunner(Car(find_scenario("isolation")), [front])
    runner.start()
    try:
        yield request.param, f"socket://127.0.0.1:{front.description['port']}"
    finally:
        runner.stop()


@asynccontextmanager
async def scripted(lines: dict[str, list], log: Path, protocol: str = "6") -> AsyncIterator[Elm327Link]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, json.dumps(lines), protocol, str(log),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    link = Elm327Link(process, LinkInfo("elm327", "script"), TransmitGuard(), PortClaim(None))
    async with link:
        await link.begin()
        yield link


async def test_codes_and_vin_through_the_chip_and_its_clones(adapter: tuple[str, str]) -> None:
    chip, port = adapter
    async with await open_elm327(port, "38400") as link:
        assert link.protocol == "6"
        (codes,) = await link.request(BMS, b"\x19\x02\xaf")
        assert codes.payload.hex() == "59027f0aa61a2f"
        everybody = await link.request(OBD_FUNCTIONAL, b"\x03")
        assert {answer.ecu for answer in everybody} == {"0x7E8", "0x7E9", "0x7EC", "0x7ED", "0x7EE", "0x7EF"}
        (vin,) = await link.request(Target.physical(0x7E0), b"\x09\x02")
        assert vin.payload[3:] == b"LHZEV4D07RA775411", "all 17 characters, or the answer says that some are missing"
        assert vin.complete
        with pytest.raises(NoAnswer):
            await link.request(Target.physical(0x7E2), b"\x3e\x00")
        assert bool(link.missing) == (chip in ("clone-1.5", "clone-wifi"))


async def test_the_same_report_as_over_can_but_for_the_link() -> None:
    front = open_front(parse_front("elm327:0"))
    runner = CarRunner(Car(find_scenario("isolation")), [front])
    runner.start()
    try:
        async with await open_elm327(f"socket://127.0.0.1:{front.description['port']}", "38400") as link:
            report = await scan(link)
    finally:
        runner.stop()
    async with CarLink(Car(find_scenario("isolation"))) as bus:
        other = await scan(bus, simulated=True)
    assert report.simulated, "the ECUs say so themselves"
    assert report.complete
    assert report.vehicle == other.vehicle
    assert [(ecu.address, ecu.name, ecu.role, ecu.protocol) for ecu in report.ecus] == [
        (ecu.address, ecu.name, ecu.role, ecu.protocol) for ecu in other.ecus
    ]
    assert [(dtc.display, dtc.status, dtc.raw) for dtc in report.dtcs] == [
        (dtc.display, dtc.status, dtc.raw) for dtc in other.dtcs
    ]
    assert [frame.raw for frame in report.freeze_frames] == [frame.raw for frame in other.freeze_frames]
    assert [finding.code for finding in report.findings] == [finding.code for finding in other.findings]
    assert report.battery is not None
    assert other.battery is not None
    assert report.battery.to_json()["cells"] == other.battery.to_json()["cells"]


async def test_lines_of_text_are_never_data(tmp_path: Path) -> None:
    lines = {
        "3E00": ["CAN ERROR"],
        "22F190": ["SEARCHING...", "7EC 10 14 62 F1 90 4C 48 5A", "7EC 22 56 34 44 30 37 52 41"],
        "22F187": ["<DATA ERROR", "7EC0462F18741", "BUFFER FULL"],
        "22F188": ["7EC 03 7F 22 31 AA AA AA AA"],
        "22F189": ["7ED 04 62 F1 89 41", "garbage", "7E", ""],
        "22F18A": ["7EC 04 62 F1 8"],
    }
    async with scripted(lines, tmp_path / "log") as link:
        with pytest.raises(RemoteProtocolError, match="wiring"):
            await link.request(BMS, b"\x3e\x00")
        (cut,) = await link.request(BMS, b"\x22\xf1\x90")
        assert not cut.complete
        assert cut.missing == 14
        assert cut.payload == b"\x62\xf1\x90LHZ"
        (whole,) = await link.request(BMS, b"\x22\xf1\x87")
        assert whole.payload == b"\x62\xf1\x87A"
        (refused,) = await link.request(BMS, b"\x22\xf1\x88")
        assert refused.nrc == 0x31
        with pytest.raises(NoAnswer):
            await link.request(BMS, b"\x22\xf1\x89")
        (half,) = await link.request(BMS, b"\x22\xf1\x8a")
        assert not half.complete


async def test_pending_is_waited_out_and_stopped_is_sent_again(tmp_path: Path) -> None:
    lines: dict[str, list] = {
        "1902AF": [["7EC 03 7F 19 78"], ["7EC 03 7F 19 78", "7EC 07 59 02 FF 0A A6 1A 2F"]],
        "3E00": [["STOPPED"], ["7EC 02 7E 00"]],
    }
    async with scripted(lines, tmp_path / "log") as link:
        (answer,) = await link.request(BMS, b"\x19\x02\xaf")
        assert answer.payload.hex() == "5902ff0aa61a2f"
        (answer,) = await link.request(BMS, b"\x3e\x00")
        assert answer.payload == b"\x7e\x00"


async def test_nothing_leaves_that_the_guard_refuses_and_nothing_too_long(tmp_path: Path) -> None:
    async with scripted({}, tmp_path / "log") as link:
        before = (tmp_path / "log").read_text()
        for payload in (b"\x11\x01", b"\x14\xff\xff\xff", b"\x2e\xf1\x90\x00", b"\xba\x00", b""):
            with pytest.raises(RefusedByPolicy):
                await link.request(BMS, payload)
        with pytest.raises(RemoteProtocolError, match="seven bytes"):
            await link.request(BMS, bytes.fromhex("22f190f187f188f189"))
        with pytest.raises(LocalProtocolError):
            await link.request(Target.physical(0x18DA10F1), b"\x3e\x00")
        assert (tmp_path / "log").read_text() == before


async def test_29_bit_identifiers(tmp_path: Path) -> None:
    lines = {"0100": ["18DAF1100641008008001 3".replace(" ", "")], "22F190": ["18 DA F1 10 04 62 F1 90 41"]}
    async with scripted(lines, tmp_path / "log", "7") as link:
        (found,) = await link.request(link.functional[0], b"\x01\x00")
        assert found.source.request_id == 0x18DA10F1
        (answer,) = await link.request(found.source, b"\x22\xf1\x90")
        assert answer.payload == b"\x62\xf1\x90A"
    sent = (tmp_path / "log").read_text().split()
    assert sent[-6:] == ["ATSHDA10F1", "ATCRA18DAF110", "ATFCSH18DA10F1", "ATFCSM1", "ATST19", "22F190"]
    assert "ATCP18" in sent


async def test_the_answer_to_a_request_that_was_given_up_is_not_the_next_one_s(tmp_path: Path) -> None:
    lines = {"22F190": ["slow", "7EC 04 62 F1 90 41"], "22F18C": ["7EC 04 62 F1 8C 42"]}
    async with scripted(lines, tmp_path / "log") as link:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await link.request(BMS, b"\x22\xf1\x90")
        (answer,) = await link.request(BMS, b"\x22\xf1\x8c")
        assert answer.payload == b"\x62\xf1\x8cB"


async def test_an_unplugged_adapter_is_a_lost_link(tmp_path: Path) -> None:
    async with scripted({"3E00": ["exit"]}, tmp_path / "log") as link:
        for _ in range(2):
            with pytest.raises(LinkLost):
                await link.request(BMS, b"\x3e\x00")


async def test_no_adapter_says_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(NoAdapter, match="No such file"):
        await open_elm327(str(tmp_path / "ttyUSB9"))
    with pytest.raises(NoAdapter, match="no ELM327 answers"):
        await open_elm327("socket://127.0.0.1:1", "38400")


def test_ports_as_people_write_them() -> None:
    assert parse_elm327_port("192.168.0.10:35000") == ("socket://192.168.0.10:35000", "38400")
    assert parse_elm327_port("socket://obd.local:23") == ("socket://obd.local:23", "38400")
    assert parse_elm327_port("/dev/ttyUSB0") == ("/dev/ttyUSB0", "")
    assert parse_elm327_port("/dev/rfcomm0@115200") == ("/dev/rfcomm0", "115200")
    assert parse_elm327_port("COM3") == ("COM3", "")
    for wrong in ("", "socket://host", "host:99999", "http://host/x"):
        with pytest.raises(ValueError):
            parse_elm327_port(wrong)
