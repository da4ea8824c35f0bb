"""What a backup costs the rooms that are written meanwhile: the time of each journal write with one and without.

Rooms are written as the service's keeper writes them, ten times a second, with 50 Hz × 200 signals each. The backup is
``huizhen consult backup``, a process of its own, into a fresh folder each round; rounds with and without alternate.
Beside it stands SQLite's backup in steps of 100 pages with pauses, as its documentation shows it: it begins again
whenever somebody writes. By default each room holds an hour.

    python benchmarks/backup.py [--rooms 2] [--megabytes 300] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from consult.journal import Journal
from consult.servicestate import RoomEntry, ServiceState
from consult.wire import encode_samples, parse_head

_SIGNALS = 200
_TICK_S = 0.1
_PER_TICK = 5
_FILL = 500


class Writer:
    """Writes all rooms until told to stop; notes how long each write took."""

    def __init__(self, folder: Path, rooms: int, megabytes: int) -> None:
        self.times_s: list[float] = []
        self._seq = 0
        self._stop = threading.Event()
        self._journals = [Journal(folder / f"x-{n:012x}.room", room=f"{n:012x}") for n in range(rooms)]
        with ServiceState(folder / "service.db") as state:
            for n, journal in enumerate(self._journals):
                state.put_room(RoomEntry(f"{n:012x}", journal.path.name, n))
        size = len(self._blocks(1)[0][1])
        for _ in range(megabytes * 1_000_000 // size // rooms // _FILL):
            batch = self._blocks(_FILL)
            for journal in self._journals:
                journal.write(blocks=batch)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _blocks(self, count: int) -> list[Any]:
        valid = np.ones(_SIGNALS, np.bool_)
        found = []
        for seq in range(self._seq, self._seq + count):
            values = np.random.default_rng(seq).random(_SIGNALS, np.float32)
            data = encode_samples(stream=1, epoch=1, seq=seq, t_us=seq * 20_000, values=values, valid=valid)
            found.append((parse_head(data), data))
        self._seq += count
        return found

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            batch = self._blocks(_PER_TICK)
            for journal in self._journals:
                began = time.perf_counter()
                journal.write(blocks=batch)
                self.times_s.append(time.perf_counter() - began)
            due += _TICK_S
            time.sleep(max(0.0, due - time.monotonic()))

    def take(self) -> list[float]:
        found, self.times_s = self.times_s, []
        return found

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        for journal in self._journals:
            journal.close()


def _backup(data: Path, target: Path) -> dict[str, Any]:
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "huizhen", "consult", "backup", "--data", str(data), "-o", str(target), "--json"]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(target.parent / "settings")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return dict(json.loads(done.stdout))


def _in_steps(path: Path, target: Path, limit_s: float) -> float | None:
    """Seconds that the other way takes for one room; None where it does not come to its end."""
    began = time.monotonic()

    def progress(*_: int) -> None:
        if time.monotonic() - began > limit_s:
            raise TimeoutError

    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as there, closing(sqlite3.connect(target)) as here:
        try:
            there.backup(here, pages=100, progress=progress, sleep=0.01)
        except TimeoutError:
            return None
    return time.monotonic() - began


def _figures(times_s: list[float]) -> dict[str, float]:
    found = np.array(times_s) * 1e3
    return {
        "writes": len(found),
        "p50_ms": round(float(np.percentile(found, 50)), 2),
        "p99_ms": round(float(np.percentile(found, 99)), 2),
        "longest_ms": round(float(found.max()), 2),
    }


def main() -> None:
    """Runs once with the options given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    times: dict[str, list[float]] = {"without": [], "beside": []}
    with tempfile.TemporaryDirectory() as made:
        data, target = Path(made) / "data", Path(made) / "store"
        writer = Writer(data, args.rooms, args.megabytes)
        try:
            took_s, size = [], 0
            for _ in range(args.rounds):
                writer.take()
                began = time.monotonic()
                done = _backup(data, target)
                took_s.append(done["duration_s"])
                size = done["bytes"]
                lasted = time.monotonic() - began
                times["beside"] += writer.take()
                time.sleep(lasted)
                times["without"] += writer.take()
            first = data / f"x-{0:012x}.room"
            steps_s = _in_steps(first, Path(made) / "steps", limit_s=20.0)
        finally:
            writer.stop()
    figures = {name: _figures(values) for name, values in times.items()}
    print(
        json.dumps(
            {
                "benchmark": "backup",
                "rooms": args.rooms,
                "megabytes": round(size / 1e6, 1),
                "backup_s": round(float(np.median(took_s)), 2),
                **figures,
                "ratio_p99": round(figures["beside"]["p99_ms"] / figures["without"]["p99_ms"], 2),
                "ratio_longest": round(figures["beside"]["longest_ms"] / figures["without"]["longest_ms"], 2),
                "one_room_in_steps_s": "unfinished after 20 s" if steps_s is None else round(steps_s, 2),
                "load": os.getloadavg()[0],
            }
        )
    )


if __name__ == "__main__":
    main()
