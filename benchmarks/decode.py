"""Columnar decoding against cantools ``decode_message``, frame for frame, in one process.

Each round times both one after the other on the same frames (cantools on every n-th of them, it is that much slower);
the figure is the median of the rounds' ratios. All signals of all frames come out with their validity, once as float64
and once in native types (the smallest integer type where scale and offset are whole numbers, else float64). Times are
no part of it: cantools has none, and ours are gathered when somebody asks for them.

    python benchmarks/decode.py [--frames 2000000] [--rounds 7] [DBC…]
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import statistics
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cantools
import numpy as np

from dbc.database import load
from dbc.decoding import decode_table
from dbc.files import bundled
from dbc.table import EXTENDED, FD, FrameTable

if TYPE_CHECKING:
    from dbc.database import Database

SHARED = Path(os.environ.get("HUIZHEN_SHARED", Path(__file__).resolve().parents[2] / "shared"))
OPENDBC = (
    "tesla_model3_vehicle",
    "tesla_model3_party",
    "ford_cgea1_2_ptcan_2011",
    "gm_global_a_high_voltage_management",
)
SAMPLE = 50


def opendbc_folder() -> Path:
    """Where the wheel of opendbc keeps its databases."""
    spec = find_spec("opendbc")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("opendbc is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "dbc"


def frames(database: Database, n: int) -> FrameTable:
    """Frames of all messages in turn, as on a bus where all have one period; selectors choose existing branches."""
    rng = np.random.default_rng(1)
    messages = [message for message in database.by_key.values() if message.signals and message.length <= 8]
    picks = rng.integers(0, len(messages), n)
    data = rng.integers(0, 256, (n, 8), dtype=np.uint8)
    random.seed(1)
    for number, message in enumerate(messages):
        data[picks == number, message.length :] = 0
        ranges = {c.selector: [] for signal in message.signals for c in signal.conditions}
        for signal in message.signals:
            for condition in signal.conditions:
                ranges[condition.selector] += [low for low, _ in condition.ranges]
        for name, values in ranges.items():
            selector = message.by_name[name]
            if not selector.little_endian or selector.conditions:
                continue
            rows = np.flatnonzero(picks == number)
            words = data[rows].view("<u8")[:, 0]
            mask = np.uint64(((1 << selector.length) - 1) << selector.first_bit)
            chosen = np.array(random.choices(values, k=len(rows)), np.uint64) << np.uint64(selector.first_bit)
            data[rows] = (words & ~mask | chosen)[:, None].view(np.uint8)
    flags = np.array([EXTENDED * m.extended | FD * (m.length > 8) for m in messages], np.uint8)
    return FrameTable(
        np.arange(n, dtype=np.int64) * 250_000,
        np.array([m.can_id for m in messages], np.uint32)[picks],
        flags[picks],
        np.zeros(n, np.uint8),
        np.array([m.length for m in messages], np.uint8)[picks],
        data,
    )


def seconds_ours(table: FrameTable, database: Database, *, native: bool) -> float:
    begin = time.perf_counter()
    decode_table(table, [database], native=native)
    return time.perf_counter() - begin


def seconds_cantools(rows: list[tuple[int, bytes]], other: Any) -> float:
    begin = time.perf_counter()
    for can_id, data in rows:
        try:
            other.decode_message(can_id, data, decode_choices=False)
        except cantools.database.errors.DecodeError:
            continue
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    logging.getLogger("cantools").setLevel(logging.ERROR)
    for path in args.databases or [*bundled(), *(opendbc_folder() / f"{name}.dbc" for name in OPENDBC)]:
        database, other = load(path), cantools.database.load_file(path, strict=False)
        table = frames(database, args.frames)
        rows = [(row.can_id, row.data) for row in table[::SAMPLE].rows()]
        for native in (False, True):
            seconds_ours(table, database, native=native)
            seconds_cantools(rows, other)
            ratios, ours = [], []
            for _ in range(args.rounds):
                mine = seconds_ours(table, database, native=native)
                theirs = seconds_cantools(rows, other) * len(table) / len(rows)
                ratios.append(theirs / mine)
                ours.append(len(table) / mine)
            print(
                f"{database.name:36} {'native ' if native else 'float64'} {statistics.median(ratios):4.0f}x cantools "
                f"({min(ratios):.0f}-{max(ratios):.0f}), {statistics.median(ours) / 1e6:.1f} M frames/s",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
