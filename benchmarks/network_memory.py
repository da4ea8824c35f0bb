"""How long a car's look-up takes, and a merge of many workshops' counts; each beside the obvious way to do it.

``python benchmarks/network_memory.py [VISITS] [SITES] [PATTERNS]``
"""

from __future__ import annotations

import json
import secrets
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from casebase.catalogue import Scope
from casebase.record import Pattern
from casebase.sharedfile import parse_counts
from casebase.sharing import CountsDocument, SharedPattern, new_site_key, signed, site_of
from casebase.visits import Visit
from consult.networkkeys import load_keys
from consult.networkmerge import merged
from consult.networkstore import NetworkStore
from consult.servicestate import ServiceState
from diag.facts import Text

DAY = datetime(2026, 11, 1, tzinfo=UTC)
TERMS = ("d1|P0AA6", "d2|bms|P0AA6", "d3|bms|P0AA6|1A")
ASKED = 200


def vin(number: int) -> str:
    """A VIN of its own."""
    return f"LRW3E7EK0N{number:07d}"


def look_ups(visits: int) -> None:
    """The keyed hash in an index, and the same by reading every row."""
    with tempfile.TemporaryDirectory() as folder:
        keys = load_keys(Path(folder), lambda: 1)
        with ServiceState(Path(folder) / "service.db") as state:
            store = NetworkStore(state)
            body = json.dumps(Visit("0" * 32, "2026-11-01", "byd", "song plus", terms=TERMS).to_json())
            rows = (
                (1, f"{n:032x}", *keys.hashes(vin(n), 1)[0], "", 1, "2026-11-01", None, "byd song plus", "fixed", body)
                for n in range(visits)
            )
            with state.transaction() as db:
                db.executemany(
                    "INSERT INTO network_visit (site, uid, key, car, room, received_us, day, what, model, outcome,"
                    " body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )

            def ours(number: int) -> int:
                return len(store.visits(keys.hashes(vin(number), 1)))

            def every_row(number: int) -> int:
                car = keys.hashes(vin(number), 1)[0][1]
                return sum(found == car for (found,) in state.rows("SELECT +car FROM network_visit"))

            print(f"{visits:,} visits")
            for name, look, asked in (("index", ours, ASKED), ("every row", every_row, 5)):
                took = []
                for _ in range(asked):
                    number = secrets.randbelow(2 * visits)
                    began = time.perf_counter()
                    if look(number) != (number < visits):
                        sys.exit(f"car {number} was not found as it should be")
                    took.append((time.perf_counter() - began) * 1e3)
                print(f"look-up, {name:10}  p50 {statistics.median(took):8.2f} ms  max {max(took):8.2f} ms")


def merges(sites: int, patterns: int) -> None:
    """Reading and adding all documents, and the size of one answer beside all documents one by one."""
    told = []
    for _ in range(sites):
        private = new_site_key()
        shared = [
            SharedPattern(
                Pattern(f"part {n}", "worn", "replace", Text("-", "-"), Text("-", "-"), Scope("byd", "han")),
                20, 2, dict.fromkeys(TERMS, 12),
            )
            for n in range(patterns)
        ]  # fmt: skip
        document = signed(CountsDocument(site_of(private), DAY, 1.0, 5, tuple(shared)), private)
        told.append(json.dumps(document).encode())
    began = time.perf_counter()
    documents = [parse_counts(body, "-") for body in told]
    read_s = time.perf_counter() - began
    private = new_site_key()
    began = time.perf_counter()
    answer = json.dumps(signed(merged(documents, site_of(private), DAY), private)).encode()
    merge_s = time.perf_counter() - began
    print(f"{sites} workshops of {patterns:,} fixes: read {read_s:.2f} s, merged and signed {merge_s:.2f} s")
    print(f"one answer {len(answer) / 1e6:.1f} MB, all documents {sum(map(len, told)) / 1e6:.1f} MB")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    look_ups(given[0] if given else 200_000)
    merges(*(given[1:3] if len(given) > 2 else (50, 500)))
