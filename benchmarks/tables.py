"""Makes the tables of docs/case-library.md and docs/performance.md anew: runs benchmarks, puts what they print there.

What stands in docs/zh/case-library.md is the same.

    benchmarks/tables.py [NAME ...]       all, or some: notices find chinese …, decode read uds …

The data is looked for in ``HUIZHEN_SHARED``, else in ``shared`` beside the repository. Everything takes some hours; a
table is written as soon as it is there, with the day, the machine and the commit, and
nothing that a run did not print.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CASES = (ROOT / "docs" / "case-library.md", ROOT / "docs" / "zh" / "case-library.md")
PERFORMANCE = (ROOT / "docs" / "performance.md",)
SHARED = Path(os.environ.get("HUIZHEN_SHARED") or ROOT.parent / "shared")
NHTSA = SHARED / "data" / "nhtsa"
CHINESE = HERE / "data" / "samr_questions.jsonl"


def script(name: str, *words: str) -> str:
    """What a benchmark prints; told here where it does not end well, because then it stands in no table."""
    done = subprocess.run([sys.executable, str(HERE / name), *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
    done.check_returncode()
    return done.stdout


def asked(kind: str, data: Path, questions: Path) -> str:
    """The library filled by its command, asked by its command, scored."""
    command = [sys.executable, "-m", "huizhen"]
    with tempfile.TemporaryDirectory() as folder:
        library = ["--library", str(Path(folder) / "library.db")]
        subprocess.run([*command, "case", "import", kind, str(data), *library], stdout=subprocess.DEVNULL, check=True)
        answers = Path(folder) / "answers.jsonl"
        with questions.open("rb") as file, answers.open("wb") as out:
            subprocess.run([*command, "case", "find", "--jsonl", *library], stdin=file, stdout=out, check=True)
        return script("score_answers.py", str(questions), str(answers))


TABLES = {
    "notices": lambda: script("notices.py", str(NHTSA)),
    "find": lambda: asked("nhtsa-recalls", NHTSA / "recalls_a.csv.gz", NHTSA / "queries_a.jsonl"),
    "chinese": lambda: asked("samr", SHARED / "data" / "samr" / "notices.jsonl", CHINESE),
    "complaints": lambda: script("complaints.py"),
    "known-fixes": lambda: script("known_fixes.py", "--seeds", "4", "--seed", "91000"),
    "fleet": lambda: script("fleet_view.py"),
    "cases": lambda: script("cases.py"),
}

SPEED = {
    "decode": lambda: script("decode.py", "--frames", "1000000", "--rounds", "5"),
    "read": lambda: script("read.py", "--lines", "500000"),
    "memory": lambda: script("memory.py", "--megabytes", "100"),
    "stream": lambda: script("stream.py", "--megabytes", "1000"),
    "uds": lambda: script("uds.py"),
    "sim": lambda: script("sim.py"),
    "recorder": lambda: script("recorder.py"),
    "room": lambda: script("room.py"),
    "room-load": lambda: script("room_load.py"),
    "record": lambda: script("room_record.py"),
    "page": lambda: script("page_fps.py"),
    "webhooks": lambda: script("webhooks.py"),
}
"""Of docs/performance.md."""


def processor() -> str:
    """What the machine calls its processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def stolen_s() -> float | None:
    """Processor seconds that other machines of the same host have taken from this one; None where nothing tells."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
        return int(fields[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


def circumstances(took_s: float, load: float, stolen: float | None) -> str:
    """When, where and on what a table was measured; other work on the machine is told, because it changes figures."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    taken = (
        "" if stolen is None else f", {stolen / took_s / (os.cpu_count() or 1):.0%} of its processors taken by others"
    )
    return (
        f"Measured {time.strftime('%Y-%m-%d')} at {commit.stdout.strip() or '?'} on {os.cpu_count()} × {processor()}, "
        f"Python {platform.python_version()}, in {took_s:.0f} s; load before it {load:.1f}{taken}."
    )


def put(page: str, name: str, printed: str, *, plain: bool = False) -> str:
    """The page with what was printed between the marks of a table; a ``plain`` one is a sentence.

    Raises:
        SystemExit: the page has no such marks.
    """
    block = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not block.search(page):
        raise SystemExit(f"no page has the marks of table '{name}'")
    text = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    if not plain and "\n| " not in text:  # what is a table already stays one
        text = f"```text\n{text}\n```"
    return block.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page)


def main() -> None:
    """Runs and writes, each table as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {' '.join([*TABLES, *SPEED])}")
    names = parser.parse_args().names or [*TABLES, *SPEED]
    if unknown := [name for name in names if name not in TABLES and name not in SPEED]:
        parser.error(f"no table '{unknown[0]}'; there are {', '.join([*TABLES, *SPEED])}")
    failed = []
    for name in names:
        print(f"{name} …", flush=True)
        began, load, stolen = time.monotonic(), os.getloadavg()[0], stolen_s()
        try:
            printed = (TABLES.get(name) or SPEED[name])()
        except subprocess.CalledProcessError as error:  # the others are worth their hours all the same
            print(f"{name}: ended with {error.returncode}; its table stays as it was", file=sys.stderr)
            failed.append(name)
            continue
        now = stolen_s()
        taken = None if stolen is None or now is None else now - stolen
        when = circumstances(time.monotonic() - began, load, taken)
        for page in CASES if name in TABLES else PERFORMANCE:
            text = put(page.read_text(encoding="utf-8"), name, printed)
            if name in SPEED:
                text = put(text, f"{name}-when", when, plain=True)
            page.write_text(text, encoding="utf-8")
        print(printed)
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
