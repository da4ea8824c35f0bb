"""The most memory that each command takes on a recording of each format, at one size and at four times that size.

python benchmarks/memory.py [--megabytes 200] [--dbc FILE]

What streams takes the same for both. Sizes are those of the candump log that the others are made of.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from multiprocessing import get_context
from pathlib import Path

from decode import opendbc_folder
from stream import make

from dbc.database import load

FORMATS = ("log", "asc", "csv", "blf", "mf4", "parquet")


def run(*args: str) -> tuple[float, int]:
    """Seconds and peak MB of one command."""
    begin = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "huizhen", *args], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{args} ended with {status}")
    return time.perf_counter() - begin, usage.ru_maxrss // 1024


def packed(path: Path, ending: str) -> Path:
    """The same recording in gzip or zip."""
    out = path.with_name(path.name + ending)
    if ending == ".zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.write(path, path.name)
    else:
        with path.open("rb") as source, gzip.open(out, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target, 1 << 20)
    return out


def made_log(log: Path, dbc: Path, megabytes: int) -> None:
    """Writes the log that the others are made of."""
    make(log, load(dbc), megabytes * 1_000_000)


def measured(folder: Path, megabytes: int, dbc: Path) -> dict[str, list[tuple[float, int]]]:
    """Of each recording: info, summary, to candump, to Parquet by message."""
    folder.mkdir()
    log = folder / "made.log"
    # A child's peak begins with what its parent holds: this process has to stay small.
    made = get_context("spawn").Process(target=made_log, args=(log, dbc, megabytes))
    made.start()
    made.join()
    paths = [log]
    out: dict[str, list[tuple[float, int]]] = {}
    for name in FORMATS[1:]:
        paths.append(folder / f"made.{name}")
        out[f"candump to {name}"] = [run("log", "convert", str(log), str(paths[-1]))]
    paths += [packed(log, ".gz"), packed(folder / "made.blf", ".gz"), packed(folder / "made.mf4", ".zip")]
    for path in paths:
        out[path.name] = [
            run("log", "info", str(path)),
            run("log", "decode", "--summary", str(path), "--dbc", str(dbc)),
            run("log", "convert", str(path), str(folder / "again.log")),
            run("log", "decode", str(path), "--dbc", str(dbc), "-o", f"{folder / 'decoded'}/"),
        ]
        shutil.rmtree(folder / "decoded")
    shutil.rmtree(folder)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--dbc", type=Path, default=None)
    args = parser.parse_args()
    dbc = args.dbc or opendbc_folder() / "tesla_model3_vehicle.dbc"
    with tempfile.TemporaryDirectory() as place:
        small = measured(Path(place) / "small", args.megabytes, dbc)
        large = measured(Path(place) / "large", 4 * args.megabytes, dbc)
    print(f"peak MB at {args.megabytes} / {4 * args.megabytes} MB of candump (seconds at the larger)")
    print(f"{'':24}{'info':>20}{'summary':>20}{'convert':>20}{'by message':>20}")
    for name, values in small.items():
        cells = [
            f"{mb} / {more_mb} ({seconds:.0f} s)"
            for (_, mb), (seconds, more_mb) in zip(values, large[name], strict=True)
        ]
        if len(cells) == 1:
            cells = ["", "", *cells]
        print(f"{name:24}" + "".join(f"{cell:>20}" for cell in cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
