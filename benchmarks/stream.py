"""A candump log of any size to Parquet: seconds, megabytes per second and the most memory that was resident.

python benchmarks/stream.py [--megabytes 5000] [--dbc FILE] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from decode import frames, opendbc_folder
from read import write_candump

from dbc.database import load
from dbc.streaming import decode_to_folder

if TYPE_CHECKING:
    from dbc.database import Database


def make(path: Path, database: Database, size: int) -> None:
    """A log of about so many bytes: 500,000 random frames of all messages again and again, while time goes on."""
    write_candump(path, frames(database, 500_000))
    block = np.frombuffer(path.read_bytes(), np.uint8).copy()
    starts = np.flatnonzero(np.append(np.uint8(10), block[:-1]) == 10)
    digits = starts[:, None] + np.array([*range(1, 11), *range(12, 18)])
    micros = 1_700_000_000_000_000 + np.arange(len(starts)) * 250
    with path.open("wb") as out:
        for repeat in range(max(1, size // len(block))):
            left = micros + repeat * len(starts) * 250
            for place in range(digits.shape[1])[::-1]:
                left, digit = np.divmod(left, 10)
                block[digits[:, place]] = digit + 48
            out.write(block.data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=5000)
    parser.add_argument("--dbc", type=Path, default=None)
    parser.add_argument("--keep", type=Path, default=None)
    args = parser.parse_args()
    dbc = args.dbc or opendbc_folder() / "tesla_model3_vehicle.dbc"
    database = load(dbc)
    place = args.keep or Path(tempfile.mkdtemp())
    place.mkdir(parents=True, exist_ok=True)
    path = place / "made.log"
    make(path, database, args.megabytes * 1_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    result = decode_to_folder(path, [database], place / "decoded")
    seconds = time.perf_counter() - begin
    size = path.stat().st_size
    written = sum(file.stat().st_size for file in result.files.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{size / 1e9:.2f} GB, {result.facts.tally.frames} frames, {result.decoded_frames} decoded, in {seconds:.1f} s "
        f"({size / seconds / 1e6:.0f} MB/s), {written / 1e6:.0f} MB of Parquet, "
        f"peak {peak / 1024:.0f} MB resident ({before / 1024:.0f} MB before)"
    )
    if args.keep is None:
        shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
