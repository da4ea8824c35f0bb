"""Runs inside a machine whose kernel has SocketCAN: the simulated car on vcan0, candump as witness, one scan.

    python guest.py SCENARIO

Prints the scan's JSON between markers, what the witness saw, and how our ISO-TP got on with the kernel's. Everything
runs some forty times slower there than outside: times are generous, and what the three programs load is loaded once,
before each begins in a process of its own.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# python-can loads asammdf and with it pandas where they are installed. This is not about them, and they crash now and
# then in an emulated machine.
sys.modules["asammdf"] = None  # type: ignore[assignment]
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # loading the plugins that these tests do not use takes minutes
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

# E402: after the line that keeps asammdf out, and the one that lets them be found.
import can  # noqa: E402
import cantools  # noqa: E402
import numpy as np  # noqa: E402

import diag  # noqa: E402
import huizhen.commands.scan  # noqa: E402
import huizhen.commands.sim  # noqa: E402
import virtualbus  # noqa: E402
from huizhen.cli import main  # noqa: E402

LOADED = (can, cantools, np, diag.scan, huizhen.commands.scan, huizhen.commands.sim, virtualbus.running)
"""Names that are looked up to load what they stand for."""
BUS = "vcan0"
CRASHED = signal.SIGSEGV
BOOT_S = 300.0


def begin(words: list[str], out: Path, err: Path) -> int:
    """Our program in a process of its own; returns its number."""
    process = os.fork()
    if process:
        return process
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    try:
        os._exit(main(words) or 0)
    finally:
        sys.stderr.flush()
        os._exit(1)


def scanned(work: Path) -> int:
    """The exit code of one scan; negative: the signal that ended it."""
    words = ["scan", "-i", "socketcan", "-c", BUS, "--json", "--timeout", "4", "--listen", "6"]
    _, status = os.waitpid(begin(words, work / "scan.json", work / "scan.err"), 0)
    print((work / "scan.err").read_text(), file=sys.stderr)
    return os.waitstatus_to_exitcode(status)


def tell_witness(log: str) -> None:
    """What candump saw, counted by its own words."""
    requests = re.findall(r" 7(?:DF|E[0-7])#(?:0[1-7]([0-9A-F]{2}))?", log)
    print("WITNESS-FRAMES", len(log.splitlines()))
    print("WITNESS-REQUESTS", len(requests))
    print("WITNESS-ANSWERS", len(re.findall(r" 7E[89A-F]#", log)))
    print("WITNESS-SERVICES", *sorted({service for service in requests if service}))


def run(scenario: str, work: Path) -> None:
    """Everything, one after the other."""
    with (work / "witness.log").open("wb") as seen:
        witness = subprocess.Popen(["candump", "-L", BUS], stdout=seen)
    car = begin(["sim", "run", "--front", f"can:socketcan:{BUS}", "--scenario", scenario], work / "sim", work / "err")
    end = time.monotonic() + BOOT_S
    while time.monotonic() < end and not ((work / "sim").exists() and (work / "sim").stat().st_size):
        time.sleep(0.5)  # the simulated car is another process
    code = scanned(work)
    if code == -CRASHED:
        # Now and then the emulator ends a process by a segmentation fault in the midst of NumPy, in nothing of ours: a
        # fault of ours would do so again. Any other end is the result.
        print("the emulated machine crashed the scan; once more", file=sys.stderr)
        code = scanned(work)
    os.kill(car, signal.SIGINT)
    os.waitpid(car, 0)
    witness.terminate()
    witness.wait()
    print((work / "err").read_text(), file=sys.stderr)
    print("SCAN-BEGIN", (work / "scan.json").read_text(), f"SCAN-END {code}", sep="\n")
    tell_witness((work / "witness.log").read_text())
    import pytest

    told = pytest.main(
        ["-q", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider", "tests/diag/test_socketcan_link.py"]
    )
    print("KERNEL-ISOTP", int(told))


if __name__ == "__main__":
    faulthandler.enable()
    os.chdir(REPOSITORY)
    with tempfile.TemporaryDirectory() as folder:
        run(sys.argv[1], Path(folder))
