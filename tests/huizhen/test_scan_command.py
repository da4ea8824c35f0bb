"""``huizhen scan`` as a technician runs it: over a serial adapter, over multicast, in process; its JSON as promised."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from consult.recording import Recording
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.roomkeychain import key_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCAN_KEYS = {
    "schema", "started", "duration_s", "complete", "simulated", "link", "vehicle", "ecus", "dtcs", "freeze_frames",
    "readiness", "battery", "findings", "cases", "unanswered",
}  # fmt: skip
DTC_KEYS = {
    "code", "failure_type", "display", "ecu", "status", "kind", "spn", "fmi", "occurrences", "text", "text_source",
    "severity", "raw",
}  # fmt: skip
STATUS_KEYS = {
    "mask", "testFailed", "testFailedThisOperationCycle", "pendingDTC", "confirmedDTC",
    "testNotCompletedSinceLastClear", "testFailedSinceLastClear", "testNotCompletedThisOperationCycle",
    "warningIndicatorRequested",
}  # fmt: skip


@contextmanager
def simulator(front: str, scenario: str) -> Iterator[dict[str, Any]]:
    """The simulated car in a process of its own, as other programs meet it; yields its JSON line."""
    with subprocess.Popen(
        [sys.executable, "-m", "huizhen", "sim", "run", "--front", front, "--scenario", scenario, "--duration", "90"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def scan_json(capfd: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["scan", "--json", *words]) == Exit.DONE
    out, err = capfd.readouterr()
    assert err == ""
    return json.loads(out)


@pytest.mark.parametrize(
    ("front", "link"),
    [("slcan", ["-i", "slcan"]), ("can:udp_multicast:239.74.163.7", ["-i", "udp_multicast"])],
)
def test_scan_over_a_front_of_the_simulated_car(front: str, link: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with simulator(front, "isolation") as line:
        assert line["front"] == front.split(":", maxsplit=1)[0]
        report = scan_json(capfd, *link, "-c", line["channel"])
    assert report["simulated"] is True
    assert report["link"]["interface"] == link[1]
    assert [ecu["address"] for ecu in report["ecus"]] == [
        "0x718",
        "0x728",
        "0x738",
        "0x748",
        "0x758",
        "0x768",
        "0x7E8",
        "0x7E9",
        "0x7EC",
        "0x7ED",
        "0x7EE",
        "0x7EF",
    ]
    assert [finding["code"] for finding in report["findings"]] == ["insulation.low"]
    assert report["battery"]["cells"] == 96
    assert report["battery"]["insulation_kohm"] < 100


def test_the_json_keeps_its_promise(capfd: pytest.CaptureFixture[str]) -> None:
    report = scan_json(capfd, "--demo", "--scenario", "weak-cell")
    assert report["schema"] == "huizhen.scan/1"
    assert set(report) >= SCAN_KEYS
    assert report["started"].endswith("Z")
    assert set(report["vehicle"]) >= {"vin", "vin_valid", "make", "model", "model_year"}
    for ecu in report["ecus"]:
        assert set(ecu) >= {"address", "name", "role", "protocol", "identification", "answered"}
    for dtc in report["dtcs"]:
        assert set(dtc) == DTC_KEYS
        assert set(dtc["status"]) == STATUS_KEYS
        assert bytes.fromhex(dtc["raw"])[-1] == int(dtc["status"]["mask"], 16)
    for finding in report["findings"]:
        assert set(finding) >= {"code", "severity", "title", "evidence"}
    assert set(report["battery"]) >= {
        "cells", "weakest", "spread_mv", "soc", "soh", "insulation_kohm", "rejected",
    }  # fmt: skip
    cases = report["cases"]
    assert cases["schema"] == "huizhen.cases/1"
    assert cases["verdict"] in {"direct", "test", "expert", "unknown", "none"}
    for match in cases["matches"]:
        assert set(match) >= {"case_id", "source_id", "title", "p", "interval", "because", "against", "fix"}


def test_fail_on_tells_scripts_of_findings(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--demo", "--scenario", "isolation", "--json", "--fail-on", "stop"]) == Exit.FINDINGS
    assert main(["scan", "--demo", "--scenario", "weak-cell", "--json", "--fail-on", "stop"]) == Exit.DONE
    capfd.readouterr()


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ["SIMULATED CAR", "What is wrong", "[STOP]", "P0AA6-1A", "HIGH VOLTAGE", "consult open", "Known fixes"]),
        ("zh", ["模拟车辆", "诊断结论", "[立即停用]", "P0AA6-1A", "高压危险", "consult open", "已知解决办法"]),
    ],
)
def test_what_a_technician_reads(lang: str, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--demo", "--scenario", "isolation", "--lang", lang]) == Exit.DONE
    out, _ = capfd.readouterr()
    at = -1
    for word in words:
        assert word in out
        assert out.index(word) > at or word == "P0AA6-1A", f"{word} comes too early"
        at = out.index(word)


def test_a_saved_scan_is_whole_and_a_bad_place_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "scan.json"
    assert main(["scan", "--demo", "--scenario", "healthy", "-q", "-o", str(target)]) == Exit.DONE
    assert json.loads(target.read_text(encoding="utf-8"))["findings"] == []
    assert (
        main(["scan", "--demo", "--scenario", "healthy", "-q", "-o", str(tmp_path / "no" / "scan.json")]) == Exit.USAGE
    )
    _, err = capfd.readouterr()
    assert "cannot write" in err
    assert [path.name for path in tmp_path.iterdir()] == ["scan.json"]


def test_a_broken_library_costs_only_the_cases(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    library = tmp_path / "cases.db"
    library.write_bytes(b"this is no database" * 400)
    target = tmp_path / "scan.json"
    words = ["scan", "--demo", "--scenario", "isolation", "--library", str(library), "-o", str(target), "-q"]
    assert main([*words, "--json"]) == Exit.CASE_LIBRARY
    out, err = capfd.readouterr()
    report = json.loads(out)
    assert report["cases"] is None
    assert report["findings"][0]["code"] == "insulation.low"
    assert json.loads(target.read_text(encoding="utf-8")) == report
    assert len(err.strip().splitlines()) == 1
    assert main(words) == Exit.CASE_LIBRARY
    out, _ = capfd.readouterr()
    assert "[STOP]" in out or "立即停用" in out


def test_a_device_is_never_replaced_and_a_link_is_followed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main(["scan", "--demo", "-o", str(pipe)]) == Exit.USAGE
    assert pipe.is_fifo()
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    link.symlink_to(real)
    assert main(["scan", "--demo", "--scenario", "healthy", "-q", "-o", str(link)]) == Exit.DONE
    assert link.is_symlink()
    assert json.loads(real.read_text(encoding="utf-8"))["schema"] == "huizhen.scan/1"
    capfd.readouterr()


def test_an_error_speaks_json_too_when_asked(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "-i", "slcan", "-c", "/dev/no-such-device", "--json"]) == Exit.NO_ADAPTER
    out, err = capfd.readouterr()
    assert json.loads(out)["schema"] == "huizhen.error/1"
    assert json.loads(out)["exit"] == 3
    assert len(err.splitlines()) == 1


def test_ctrl_c_shows_what_there_is() -> None:
    # A shell that runs make behind an & has the signal ignored, and children inherit that.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import huizhen.__main__ as it"
    words = ["scan", "--demo", "--scenario", "isolation", "--listen", "60", "--json"]
    command = [sys.executable, "-c", f"{program}; raise SystemExit(it.main())", *words]
    for seconds in (10.0, 25.0, 50.0):  # on a busy machine the scan has not always begun after ten
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        assert process.returncode == Exit.INTERRUPTED
        assert len(err.splitlines()) == 1
        if json.loads(out)["schema"] != "huizhen.error/1":
            break
    assert json.loads(out)["complete"] is False


def test_scan_through_a_doip_gateway(capfd: pytest.CaptureFixture[str]) -> None:
    with simulator("doip:0", "isolation") as line:
        report = scan_json(capfd, "--adapter", f"doip:127.0.0.1:{line['port']}")
        assert main(["scan", "--adapter", f"doip:127.0.0.1:{line['port']}", "--lang", "zh"]) == Exit.DONE
    assert report["link"] == {
        "interface": "doip", "channel": f"127.0.0.1:{line['port']}", "bitrate": None, "simulated": True,
    }  # fmt: skip
    assert [ecu["address"] for ecu in report["ecus"]] == sorted(line["ecus"].values())
    assert [dtc["display"] for dtc in report["dtcs"]] == ["P0AA6-1A"]
    assert report["battery"]["cells"] == 96
    assert report["findings"][0]["severity"] == "stop"
    shown = capfd.readouterr().out
    assert "已按信号集" in shown
    assert f"consult open --adapter doip:127.0.0.1:{line['port']}" in shown


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--adapter", "doip"], Exit.USAGE, "doip:HOST"),
        (["--adapter", "doip:a:b"], Exit.USAGE, "doip:HOST"),
        (["--adapter", "kline:x"], Exit.USAGE, "doip:HOST"),
        (["--adapter", "doip:127.0.0.1", "-i", "slcan"], Exit.USAGE, "in place of -i"),
        (["--adapter", "doip:127.0.0.1", "--demo"], Exit.USAGE, "--demo brings its own car"),
        (["--adapter", "elm327:"], Exit.USAGE, "elm327:PORT"),
        (["--adapter", "elm327:/nowhere/ttyUSB9"], Exit.NO_ADAPTER, "No such file"),
        (["--adapter", "elm327:127.0.0.1:1"], Exit.NO_ADAPTER, "no ELM327 answers"),
        (["--adapter", "doip:127.0.0.1:1"], Exit.NO_ADAPTER, "doip on 127.0.0.1:1"),
    ],
)
def test_an_adapter_that_cannot_be_is_said(
    words: list[str], code: Exit, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", "--lang", "en", *words]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_room_through_a_gateway_asks_for_what_is_live(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = tmp_path / "rooms"
    with simulator("doip:0", "weak-cell") as line:
        monkeypatch.setenv("HUIZHEN_ADAPTER", f"doip:127.0.0.1:{line['port']}")
        words = ["consult", "open", "--lang", "en", "--data", str(rooms)]
        assert main([*words, "--raw"]) == Exit.USAGE
        assert "--raw needs the bus" in capfd.readouterr().err
        assert main([*words, "--duration", "4"]) == Exit.DONE
    record = next(rooms.glob("*.room"))
    with Recording(record, key_source(argparse.Namespace(), record)) as recording:
        ((_, streams),) = recording.documents("schemas")
        (span,) = recording.spans()
    names = [signal["name"] for signal in streams["schemas"][0]["signals"]]
    assert len([name for name in names if name.startswith("CellVoltage_")]) == 96
    assert span.next > span.first


def judged(report: dict[str, Any]) -> dict[str, Any]:
    """What a scan says of the car, without the addresses and the noise of single readings."""
    roles = {ecu["address"]: ecu["role"] for ecu in report["ecus"]}
    battery = report["battery"]
    return {
        "vin": report["vehicle"]["vin"],
        "roles": sorted(roles.values()),
        "software": sorted(
            str(ecu["identification"].get("systemSupplierECUSoftwareVersionNumber")) for ecu in report["ecus"]
        ),
        "codes": sorted((roles[dtc["ecu"]], dtc["display"], dtc["status"]["mask"]) for dtc in report["dtcs"]),
        "frozen": sorted(
            (roles[frame["ecu"]], frame["code"], frame["source"], frame["record"]) for frame in report["freeze_frames"]
        ),
        "findings": [(finding["code"], finding["severity"]) for finding in report["findings"]],
        "cells": battery["cells"],
        "weakest": battery["weakest"]["cell"],
        "first": report["cases"]["matches"][0]["case_id"],
        "verdict": report["cases"]["verdict"],
        "complete": report["complete"],
    }


@pytest.mark.parametrize("front", ["slcan", "can:udp_multicast:239.74.163.77", "elm327:0", "doip:0"])
def test_every_way_to_the_car_gives_the_same_report(front: str, capfd: pytest.CaptureFixture[str]) -> None:
    expected = judged(scan_json(capfd, "--demo", "--scenario", "weak-cell"))
    with simulator(front, "weak-cell") as line:
        if front == "slcan":
            words = ["-i", "slcan", "-c", str(line["channel"]), "-b", "500000"]
        elif front.startswith("can"):
            words = ["-i", "udp_multicast", "-c", str(line["channel"])]
        else:
            kind = front.partition(":")[0]
            words = ["--adapter", f"{kind}:127.0.0.1:{line['port']}"]
        report = judged(scan_json(capfd, *words))
    if front.startswith("elm327"):  # it is asked for the telling identification only, and for fewer details
        assert {key: report[key] for key in expected} == expected
    else:
        assert report == expected
