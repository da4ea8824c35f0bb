#!/usr/bin/env python3
"""Writes tests/durations.toml, the order in which files of tests begin, from what the last check took.

    make check && .venv/bin/python tools/order_tests.py

What runs in a machine of its own begins: it takes most of both processors for two minutes, so files that only compute
stand beside it. Then the longest first: whoever begins with short ones leaves one process alone at the end. Browsers and calls keep
a processor busy, so they alternate with files that mostly wait.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOLD = ROOT / ".venv/durations.xml"
LEAST_S = 4
MACHINE = "socketcan/"
COMPUTING = ("casebase/", "dbc/", "test_")
BROWSING = re.compile(r"browser|/test_page_|/test_call_|test_consultation")
BESIDE_S = 300
"""What stands beside the machine, for the processes that do not run it together."""
ALONE = re.compile(r"socketcan/|test_call_(browser|engine_browser|janus)")
"""Those that ask for the fixture ``whole_machine``: one at a time, so each begins when the one before should be done."""
PROCESSES = 4
HEAD = """\
# Which files of tests begin, and about how many seconds each takes. Files that are not named follow in their own order.
# Written by tools/order_tests.py from what the last `make check` took.
"""


def seconds_of_files(told: Path) -> dict[str, float]:
    """Path below tests/ -> seconds."""
    found: defaultdict[str, float] = defaultdict(float)
    for case in ET.parse(told).iter("testcase"):  # noqa: S314 - pytest wrote it
        found[case.attrib["file"].removeprefix("tests/")] += float(case.attrib["time"])
    return found


def in_order(seconds: dict[str, float]) -> list[str]:
    longest = sorted((name for name in seconds if seconds[name] >= LEAST_S), key=lambda name: -seconds[name])
    first = [name for name in longest if name.startswith(MACHINE)]
    beside_s = 0.0
    for name in longest:
        if name.startswith(COMPUTING) and beside_s < BESIDE_S:
            first.append(name)
            beside_s += seconds[name]
    rest = [name for name in longest if name not in first]
    browsing = [name for name in rest if BROWSING.search(name)]
    waiting = [name for name in rest if not BROWSING.search(name)]
    return spaced([*first, *(name for pair in zip_longest(browsing, waiting) for name in pair if name)], seconds)


def spaced(names: list[str], seconds: dict[str, float]) -> list[str]:
    alone = [name for name in names if ALONE.search(name)]
    order: list[str] = []
    given_s = free_s = 0.0
    for name in [*(name for name in names if name not in alone), None]:
        while alone and (name is None or given_s / PROCESSES >= free_s):
            order.append(alone.pop(0))
            given_s += seconds[order[-1]]
            free_s += seconds[order[-1]]
        if name is not None:
            order.append(name)
            given_s += seconds[name]
    return order


def main() -> None:
    seconds = seconds_of_files(Path(sys.argv[1]) if sys.argv[1:] else TOLD)
    lines = [f'"{name}" = {seconds[name]:.0f}\n' for name in in_order(seconds)]
    (ROOT / "tests/durations.toml").write_text(HEAD + "".join(lines), encoding="utf-8")
    print(f"{len(lines)} files, {sum(seconds.values()) / 60:.0f} min in all")


if __name__ == "__main__":
    main()
