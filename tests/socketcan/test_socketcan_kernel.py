"""The scan over a real kernel's SocketCAN, with can-utils' candump as an independent witness."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GUEST = Path(__file__).with_name("guest.py")
PATIENCE_S = 1500
"""Five minutes on two processors that are free."""
CALM = {"OPENBLAS_NUM_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"}
"""Threads of an emulated machine gain nothing; its emulated vector units are slow and have ended in a crash."""
READING_SERVICES = {"01", "02", "03", "06", "07", "09", "0A", "10", "19", "22", "24", "3E"}


def test_scan_over_socketcan_reads_and_only_reads(shared: Path) -> None:
    machine = shared / "tools" / "vcan-vm"
    if os.geteuid() != 0 or not machine.exists():
        pytest.skip("needs root and the vcan-vm tool")
    if shutil.which("candump") is None:
        pytest.skip("needs can-utils")
    settings = [f"{name}={value}" for name, value in CALM.items()]
    result = subprocess.run(
        ["nice", "-n", "-5", str(machine), "env", *settings, sys.executable, "-u", str(GUEST), "isolation"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S + 60,
        check=False,
        env={**os.environ, "VCAN_VM_TIMEOUT": str(PATIENCE_S)},
        cwd=GUEST.parents[2],
    )
    if result.returncode == 125:
        pytest.skip(f"the guest machine could not be started: {result.stderr[-300:]}")
    text, _, witness = result.stdout.partition("SCAN-END ")
    assert witness.startswith("0"), result.stdout[-2000:] + result.stderr[-2000:]
    report = json.loads(text.partition("SCAN-BEGIN")[2])
    assert {ecu["address"] for ecu in report["ecus"]} >= {"0x7E8", "0x7E9", "0x7EC", "0x7ED", "0x7EE", "0x7EF", "0x728"}
    assert "P0AA6-1A" in {dtc["display"] for dtc in report["dtcs"]}
    assert report["findings"][0]["code"] == "insulation.low"
    assert len(report["battery"]["cell_v"]) == 96
    assert report["link"]["interface"] == "socketcan"
    assert report["simulated"] is True
    counts = dict(line.split(" ", 1) for line in witness.splitlines()[1:] if " " in line)
    assert int(counts["WITNESS-FRAMES"]) > 500
    assert int(counts["WITNESS-ANSWERS"]) > 20
    assert set(counts["WITNESS-SERVICES"].split()) <= READING_SERVICES
    assert counts["KERNEL-ISOTP"] == "0", witness
    assert "skipped" not in witness
