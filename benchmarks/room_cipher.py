"""What encryption at rest costs: the same blocks into a plain and into an encrypted record, turn by turn in one run.

50 Hz of 200 signals, five blocks a flush, as a room writes them: time of a processor per flush, size, then checking,
reading everything, and looking at one signal. The least of each turn counts, so that other work hurts both alike.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consult.history import HistoryQuery, read_history
from consult.journal import Journal
from consult.recordcheck import check_record
from consult.recording import Recording
from consult.roomkeys import KeyStore
from consult.wire import encode_samples, parse_head
from huizhen.signing import KeySigner

if TYPE_CHECKING:
    from collections.abc import Callable

    from consult.wire import BlockHead

SIGNALS, FLUSH, TURNS = 200, 5, 5
T0_US, STEP_US = 1_700_000_000_000_000, 20_000


def blocks(count: int) -> list[tuple[BlockHead, bytes]]:
    random = np.random.default_rng(1)
    valid = np.ones(SIGNALS, np.bool_)
    made = []
    for seq in range(count):
        values = random.normal(3.7, 0.01, SIGNALS).astype(np.float32)
        data = encode_samples(stream=1, epoch=7, seq=seq, t_us=T0_US + seq * STEP_US, values=values, valid=valid)
        made.append((parse_head(data), data))
    return made


def write(path: Path, made: list[tuple[BlockHead, bytes]], keys: KeyStore | None) -> float:
    signals = [{"name": f"s{n}", "unit": "V"} for n in range(SIGNALS)]
    now_us = T0_US
    signer = KeySigner(Ed25519PrivateKey.generate())
    with Journal(path, room="0123456789ab", signer=signer, keys=keys, now_us=lambda: now_us) as journal:
        journal.write(documents=[("schemas", T0_US, {"epoch": 7, "schemas": [{"stream": 1, "signals": signals}]})])
        began = time.process_time()
        for at in range(0, len(made), FLUSH):
            now_us = T0_US + (at + FLUSH) * STEP_US
            journal.append(made[at : at + FLUSH])
        used = time.process_time() - began
        journal.end("consult.room-closed")
    return used / len(made) * FLUSH * 1e6


def spent_ms(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return (time.process_time() - began) * 1e3


def read_all(path: Path) -> int:
    with Recording(path) as recording:
        return sum(len(data) for span in recording.spans() for _, _, data in recording.blocks_of(span))


def main() -> None:
    made = blocks(int(sys.argv[1]) if len(sys.argv) > 1 else 15_000)
    query = HistoryQuery(1, ("s7",), T0_US, T0_US + len(made) * STEP_US, 1_000)
    tasks: dict[str, Callable[[Path], object]] = {
        "check, ms": check_record,
        "read everything, ms": read_all,
        "history of one signal, ms": lambda path: read_history(path, query),
    }
    best: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        keys = KeyStore(Path(folder) / "keys")
        for turn in range(TURNS):
            for way, store in enumerate((None, keys)):
                path = Path(folder) / f"{way}-{turn}.room"
                told = {"write a flush of five blocks, us": write(path, made, store)}
                told |= {name: spent_ms(lambda task=task, path=path: task(path)) for name, task in tasks.items()}
                told["size, MB"] = path.stat().st_size / 1e6
                for name, value in told.items():
                    row = best.setdefault(name, [float("inf"), float("inf")])
                    row[way] = min(row[way], value)
                path.unlink()
    print(f"{len(made)} blocks of {SIGNALS} signals, least of {TURNS} turns     plain   encrypted   ratio")
    for name, (plain, sealed) in best.items():
        print(f"{name:44s} {plain:10.1f} {sealed:11.1f} {sealed / plain:7.2f}")


if __name__ == "__main__":
    main()
