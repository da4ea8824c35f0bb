"""From a recording to all signals, against python-can + cantools (candump, ASC, BLF) and asammdf's
``extract_bus_logging`` (MF4).

Each round times both one after the other in one process; the figure is the median of the rounds' ratios. The others
read a part of each candump, ASC and BLF file (they are that much slower) and all of each MF4 file. ASC and BLF are
written by python-can.

    python benchmarks/read.py [--lines 1000000] [--rounds 5] [--only candump,asc,blf,truck,large,sorted]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asammdf
import can
import cantools
import numpy as np
from can.io import MF4Writer
from decode import SHARED, frames, opendbc_folder

from dbc.database import load
from dbc.decoding import decode_table
from dbc.recording import open_recording
from dbc.recording.mdf import File
from dbc.recording.unsorted import Walk
from dbc.table import EXTENDED, FrameTable

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE = 40
TRUCK = SHARED / "data/css/j1939_truck.mf4"
TRUCK_DBC = SHARED / "data/css/j1939_demo.dbc"
REPEATS = 50


def write_candump(path: Path, table: FrameTable) -> None:
    with path.open("w", encoding="ascii") as out:
        for row in table.rows():
            name = f"{row.can_id:08X}" if row.flags & EXTENDED else f"{row.can_id:03X}"
            second, part = divmod(row.t_ns // 1000, 1_000_000)
            out.write(f"({1_700_000_000 + second}.{part:06d}) can0 {name}#{row.data.hex().upper()}\n")


def write_by_python_can(path: Path, table: FrameTable) -> None:
    with can.Logger(path) as writer:
        for row in table.rows():
            writer.on_message_received(
                can.Message(
                    1_700_000_000 + row.t_ns / 1e9, row.can_id, bool(row.flags & EXTENDED), data=row.data, channel=0
                )
            )


def write_sorted(path: Path, table: FrameTable) -> None:
    writer = MF4Writer(path)
    for row in table.rows():
        message = can.Message(row.t_ns / 1e9, row.can_id, bool(row.flags & EXTENDED), data=row.data, channel=0)
        writer.on_message_received(message)
    writer.stop()


def write_large(path: Path) -> None:
    """The truck's records again and again, times and references going on: a long recording of the same logger."""
    content = TRUCK.read_bytes()
    file = File(content, str(TRUCK))
    data_group = next(block for _, block in file.chain(file.link(file.block(64, "HD"), 0), "DG"))
    groups = {group.record_id: group for group in file.groups(data_group)}
    begin = file.block(file.link(data_group, 2)).start
    stream = np.frombuffer(content[begin:], np.uint8)
    sizes = {number: None if group.variable else group.size for number, group in groups.items()}
    walk = Walk(np.concatenate([stream, np.zeros(64, np.uint8)]), len(stream), 1, sizes)
    stream = stream[: walk.end].copy()
    values = np.concatenate([walk.places(number) for number, group in groups.items() if group.variable])
    used = int(stream[values[:, None] + np.arange(4)].view("<u4").astype(np.int64).sum()) + 4 * len(values)
    frames_at = walk.places(1)
    time_at = frames_at[:, None] + groups[1].channels["Timestamp"].byte_offset + np.arange(8)
    value_at = frames_at[:, None] + groups[1].channels["CAN_DataFrame.DataBytes"].byte_offset + np.arange(8)
    times, offsets = stream[time_at].view("<f8"), stream[value_at].view("<u8")
    with path.open("wb") as out:
        out.write(content[:begin])
        for repeat in range(REPEATS):
            stream[time_at] = (times + repeat * (times.max() + 1000)).view(np.uint8)
            stream[value_at] = (offsets + np.uint64(repeat * used)).view(np.uint8)
            out.write(stream.tobytes())


def ours(path: Path, dbc: Path) -> Callable[[], float]:
    database = load(dbc)

    def run() -> float:
        begin = time.perf_counter()
        decode_table(open_recording(path).table, [database])
        return time.perf_counter() - begin

    return run


def python_can(path: Path, dbc: Path) -> Callable[[], float]:
    database: Any = cantools.database.load_file(dbc, strict=False)

    def run() -> float:
        begin = time.perf_counter()
        with can.LogReader(path) as reader:
            for message in reader:
                try:
                    database.decode_message(message.arbitration_id, message.data, decode_choices=False)
                except (KeyError, cantools.database.errors.DecodeError):
                    continue
        return time.perf_counter() - begin

    return run


def through_asammdf(path: Path, dbc: Path) -> Callable[[], float]:
    def run() -> float:
        begin = time.perf_counter()
        with asammdf.MDF(path) as mdf:
            found = mdf.extract_bus_logging({"CAN": [(dbc, 0)]}, ignore_value2text_conversion=True)
            for number, group in enumerate(found.groups):
                for index in range(len(group.channels)):
                    found.get(group=number, index=index, ignore_invalidation_bits=True)
            found.close()
        return time.perf_counter() - begin

    return run


def report(name: str, mine: Callable[[], float], theirs: Callable[[], float], factor: float, rounds: int) -> None:
    mine()
    theirs()
    pairs = [(mine(), theirs() * factor) for _ in range(rounds)]
    ratios = [other / own for own, other in pairs]
    own = statistics.median(own for own, _ in pairs)
    print(f"{name:28} {statistics.median(ratios):5.1f}x ({min(ratios):.1f}-{max(ratios):.1f}), {own:.3f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="candump,asc,blf,truck,large,sorted")
    args = parser.parse_args()
    chosen = args.only.split(",")
    warnings.simplefilter("ignore")
    for name in ("cantools", "asammdf", "can"):
        logging.getLogger(name).setLevel(logging.ERROR)
    folder = opendbc_folder()
    with tempfile.TemporaryDirectory() as place:
        where = Path(place)
        if "candump" in chosen:
            for name in ("tesla_model3_vehicle", "ford_cgea1_2_ptcan_2011"):
                dbc = folder / f"{name}.dbc"
                table = frames(load(dbc), args.lines)
                write_candump(where / "whole.log", table)
                write_candump(where / "part.log", table[: args.lines // SAMPLE])
                mine, theirs = ours(where / "whole.log", dbc), python_can(where / "part.log", dbc)
                report(f"candump, {name}", mine, theirs, SAMPLE, args.rounds)
        for ending in sorted({"asc", "blf"} & set(chosen)):
            for name in ("tesla_model3_vehicle", "ford_cgea1_2_ptcan_2011"):
                dbc = folder / f"{name}.dbc"
                table = frames(load(dbc), args.lines)
                whole, part = where / f"whole.{ending}", where / f"part.{ending}"
                write_by_python_can(whole, table)
                write_by_python_can(part, table[: args.lines // SAMPLE])
                report(f"{ending}, {name}", ours(whole, dbc), python_can(part, dbc), SAMPLE, args.rounds)
        if "truck" in chosen:
            report("mf4, the real truck", ours(TRUCK, TRUCK_DBC), through_asammdf(TRUCK, TRUCK_DBC), 1, args.rounds)
        if "large" in chosen:
            path = where / "large.mf4"
            write_large(path)
            name = f"mf4, unsorted, {len(open_recording(path).table)} frames"
            report(name, ours(path, TRUCK_DBC), through_asammdf(path, TRUCK_DBC), 1, args.rounds)
        if "sorted" in chosen:
            dbc = folder / "tesla_model3_vehicle.dbc"
            path = where / "sorted.mf4"
            write_sorted(path, frames(load(dbc), args.lines // 4))
            report("mf4, sorted", ours(path, dbc), through_asammdf(path, dbc), 1, args.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
