"""``db lint`` over every file of the opendbc wheel, against a count of its lines; the table of docs/databases.md.

The count is independent of the reader: ``BO_`` and ``SG_`` lines of the file and of everything that it imports, without
those of Vector's message for signals that belong to none.

    python benchmarks/lint_opendbc.py [FILE…]
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from pathlib import Path

from huizhen.commands.db import lint_json

IMPORT = re.compile(r'^CM_ "IMPORT (.*?)";', re.MULTILINE)
INDEPENDENT = re.compile(r"^BO_ \d+ VECTOR__INDEPENDENT_SIG_MSG.*\n((?:[ \t]+SG_ .*\n)*)", re.MULTILINE)


def count(path: Path) -> tuple[int, int]:
    """Messages and signals by lines, imports included."""
    seen: set[Path] = set()
    waiting, messages, signals = [path], 0, 0
    while waiting:
        here = waiting.pop()
        if here in seen or not here.is_file():
            continue
        seen.add(here)
        text = here.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
        waiting += [here.parent / name for name in IMPORT.findall(text)]
        free = INDEPENDENT.search(text)
        messages += len(re.findall(r"^\s*BO_ \d", text, re.MULTILINE)) - bool(free)
        signals += len(re.findall(r"^\s*SG_ ", text, re.MULTILINE)) - (free[1].count("SG_ ") if free else 0)
    return messages, signals


def files() -> list[Path]:
    import opendbc

    return sorted(Path(opendbc.__path__[0]).rglob("*.dbc"))


def main() -> None:
    """Prints the table and a summary."""
    paths = [Path(word) for word in sys.argv[1:]] or files()
    print("| file | messages | signals | whole | mended | left |\n| --- | ---: | ---: | --- | --- | --- |")
    wrong, loaded = [], 0
    started = time.perf_counter()
    codes: Counter[str] = Counter()
    for path in paths:
        facts = lint_json(str(path), path)
        counted = count(path)
        whole = facts["loaded"] and (facts["messages"], facts["signals"]) == counted
        loaded += facts["loaded"]
        if not whole:
            wrong.append(path.name)
        own = [issue for issue in facts["issues"] if "file" not in issue]
        codes.update(issue["code"] for issue in own)
        mended = Counter(issue["code"] for issue in own if issue["repaired"])
        left = Counter(issue["code"] for issue in own if not issue["repaired"])
        cells = [", ".join(f"{n} {code}" for code, n in sorted(found.items())) for found in (mended, left)]
        verdict = "yes" if whole else f"**{counted}**"
        print(f"| {path.stem} | {facts['messages']} | {facts['signals']} | {verdict} | {cells[0]} | {cells[1]} |")
    took = time.perf_counter() - started
    print(f"\n{loaded} of {len(paths)} files loaded, {len(paths) - len(wrong)} whole, {took:.1f} s; not whole: {wrong}")
    print(", ".join(f"{n} {code}" for code, n in codes.most_common()))


if __name__ == "__main__":
    main()
