"""What a room's sealed record costs: half an hour of 200 signals at 50 Hz, written, checked, played, exported."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consult.export import export_recording
from consult.history import HistoryQuery, read_history
from consult.invites import Role
from consult.journal import Journal
from consult.recordcheck import check_record
from consult.recording import Recording
from consult.replay import Playback
from consult.wire import encode_samples, parse_head
from huizhen.signing import KeySigner

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS, SIGNALS, FLUSH = 90_000, 200, 5
T0_US, STEP_US = 1_700_000_000_000_000, 20_000


def timed(name: str, action: Callable[[], object]) -> None:
    began = time.perf_counter()
    said = action()
    print(f"{name:44s} {time.perf_counter() - began:7.2f} s   {'' if said is None else said}")


def write(path: Path) -> str:
    random = np.random.default_rng(1)
    valid = np.ones(SIGNALS, np.bool_)
    made = []
    for seq in range(BLOCKS):
        values = random.normal(3.7, 0.01, SIGNALS).astype(np.float32)
        data = encode_samples(stream=1, epoch=7, seq=seq, t_us=T0_US + seq * STEP_US, values=values, valid=valid)
        made.append((parse_head(data), data))
    signals = [{"name": f"s{n}", "unit": "V"} for n in range(SIGNALS)]
    now_us = T0_US
    with Journal(path, signer=KeySigner(Ed25519PrivateKey.generate()), now_us=lambda: now_us) as journal:
        journal.write(documents=[("schemas", T0_US, {"epoch": 7, "schemas": [{"stream": 1, "signals": signals}]})])
        began = time.process_time()
        for at in range(0, BLOCKS, FLUSH):
            now_us = T0_US + (at + FLUSH) * STEP_US
            journal.append(made[at : at + FLUSH])
        used = time.process_time() - began
        journal.end("consult.room-closed")
    return f"{used / BLOCKS * FLUSH * 1e6:.0f} us of a processor per flush; {path.stat().st_size / 1e6:.0f} MB"


def look(path: Path, signals: int, seconds: float) -> int:
    names = tuple(f"s{n}" for n in range(signals))
    return len(read_history(path, HistoryQuery(1, names, T0_US, T0_US + round(seconds * 1e6), 1_000)))


def play(path: Path) -> str:
    with Recording(path) as recording:
        playback = Playback(recording, room="", role=Role.TECHNICIAN, person=1, name="", speed=100.0, now_s=0.0)
        playback.begin(0.0)
        told, now_s = 0, 0.0
        while told < BLOCKS:
            now_s += 0.05
            told += sum(isinstance(item, bytes) for item in playback.step(now_s))
        return f"{told} blocks in {now_s:.0f} s of the page's time"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.room"
        timed("made and written, five blocks at a time", lambda: write(path))
        timed("verify", lambda: check_record(path).verdict)
        timed("history: one minute, 8 signals", lambda: look(path, 8, 60))
        timed("history: all of it, 32 signals", lambda: look(path, 32, BLOCKS * STEP_US / 1e6))
        timed("replay of all at 100 times the speed", lambda: play(path))
        for ending in sys.argv[1:] or ("parquet",):
            timed(f"export to {ending}", lambda ending=ending: export_recording(path, Path(folder) / f"a.{ending}"))


if __name__ == "__main__":
    main()
