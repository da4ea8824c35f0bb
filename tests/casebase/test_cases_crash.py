"""Killed at any moment, asked by many while one writes, out of room: what was committed is there, nothing is half."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from casebase.arrayfiles import load_folder, save_folder
from casebase.fixindex import load_arrays
from casebase.library import Library
from casebase.query import Query
from casebase.record import case_from_json
from huizhen.cli import main
from huizhen.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = 12_000
JOBS = 90
QUESTION = {"symptom": "noise 7 异响", "vehicle": {"make": "BYD", "model": "Song"}, "dtcs": ["B1107-11@body"]}
OURS = {"dtcs": ["P0DE6-16@bms"], "symptom": "续航变短", "read": ["bms"]}

IMPORT = """
import sys
from casebase.library import Library
def main():
    with Library.open(sys.argv[1]) as library:
        result = library.import_file("jsonl", sys.argv[2], progress=lambda r: print(r.resumed + r.rows, flush=True))
        print("done", result.was_done, flush=True)
if __name__ == "__main__":
    main()
"""
ASK = """
import json, sys
from casebase.library import Library
from casebase.query import Query
with Library.open(sys.argv[1]) as library:
    print("ready", flush=True)
    print(json.dumps(library.find(Query.from_json(json.loads(sys.argv[2]))).to_json()), flush=True)
"""
CLOSE = """
import sys
from casebase.library import Library
with Library.open(sys.argv[1]) as library:
    print("ready", flush=True)
    for row in library._store.rows("SELECT id FROM cases WHERE outcome IS NULL ORDER BY id"):
        library.close_job(row[0], "weak-cell", "fixed" if row[0] % 3 else "not-fixed")
        print(row[0], flush=True)
"""


def line(number: int) -> dict[str, Any]:
    """A short case of one of sixty patterns."""
    return {
        "id": number,
        "symptom": f"noise {number % 50} 异响",
        "vehicle": {"make": "BYD", "model": "Song"},
        "dtcs": [f"B1{100 + number % 60}-11@body"],
        "outcome": "fixed",
        "fix": {"component": f"part {number % 60}", "failure_mode": "worn", "action": "replace"},
    }


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crash") / "cases.jsonl"
    path.write_text("".join(json.dumps(line(i)) + "\n" for i in range(ROWS)), "utf-8")
    return path


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with 5500 learnt cases and no arrays."""
    path = tmp_path_factory.mktemp("crash") / "taught.db"
    with Library.open(path, create=True) as library:
        library.add_cases([case_from_json(line(i), library.cases.car_key) for i in range(5500)])
        assert library._store.value("SELECT count(*) FROM learnt") == 5500
    assert not Path(f"{path}-index").exists()
    return path


@pytest.fixture
def library(tmp_path: Path, taught: Path) -> Path:
    return Path(shutil.copy(taught, tmp_path / "cases.db"))


@pytest.fixture(scope="module")
def opened_jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with open jobs."""
    path = tmp_path_factory.mktemp("crash") / "jobs.db"
    with Library.open(path, create=True) as made:
        query = Query.from_json(OURS)
        answers = made.find(query)
        for _ in range(JOBS):
            made.remember(query, answers, answered_ms=1000)
    return path


@pytest.fixture
def jobs(tmp_path: Path, opened_jobs: Path) -> Path:
    return Path(shutil.copy(opened_jobs, tmp_path / "jobs.db"))


@contextmanager
def running(script: str, *words: object) -> Generator[subprocess.Popen[str]]:
    """A process in a group of its own; whatever is left of the group at the end is a fault, and ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        is_over = wait_for_end(process.pid)
        if not is_over:
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.stderr.close()
        assert is_over, "a helper outlived the process that was killed"


def wait_for_end(group: int) -> bool:
    """Whether all processes of a group end within some seconds."""
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def checked(path: Path) -> None:
    """The pages and the references of a library that nobody has open."""
    conn = sqlite3.connect(path)
    try:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        conn.close()


def answer(path: Path, question: dict[str, Any] = QUESTION) -> dict[str, Any]:
    with Library.open(path) as opened:
        return opened.find(Query.from_json(question)).to_json()


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The same but for rare words: arrays that are made anew let go of them, those beside which cases came do not.

    How many came beside depends on when a process asked last, so that this moves from run to run (up to 0.01 seen).
    """
    first, expected = one["matches"][0], other["matches"][0]
    assert (first["case_id"], first["outcomes"]) == (expected["case_id"], expected["outcomes"])
    told = {m["case_id"]: m["p"] for m in one["matches"]}
    assert [told.get(m["case_id"], m["p"]) for m in other["matches"]] == pytest.approx(
        [m["p"] for m in other["matches"]], abs=3e-2
    )


def test_an_import_that_is_killed_again_and_again_ends_with_the_rows_of_the_file(tmp_path: Path, lines: Path) -> None:
    path = tmp_path / "cases.db"
    Library.open(path, create=True).close()
    chance = random.Random(time.time_ns())
    reported = 0
    for kill_after in (4, 0, 1):  # progress lines; at the fourth a second process is at work
        with running(IMPORT, path, lines) as process:
            for _ in range(kill_after):
                told = process.stdout.readline().split()
                if told and told[0] != "done":
                    reported = max(reported, int(told[0]))
            time.sleep(chance.uniform(0.0, 0.1) if kill_after else chance.uniform(0.3, 0.9))
            process.send_signal(signal.SIGKILL)
            process.wait()
            os.set_blocking(process.stdout.fileno(), False)  # a helper that lived on would hold the other end
            told = os.read(process.stdout.fileno(), 1 << 16) if wait_for_end(process.pid) else b""
            reported = max([reported, *(int(word) for word in told.split() if word.isdigit())])
        checked(path)
        with Library.open(path) as opened:
            kept = opened._store.value("SELECT count(*) FROM cases")
            assert kept >= reported
            assert kept == (opened._store.value("SELECT max(rows) FROM imports") or 0)
            assert opened._store.value("SELECT count(*) FROM learnt") == kept
    with running(IMPORT, path, lines) as process:
        assert "done" in process.communicate(timeout=120)[0]
        assert process.returncode == 0
    checked(path)
    with Library.open(path) as opened:
        assert opened._store.rows("SELECT rows, kept, finished FROM imports") == [(ROWS, ROWS, 1)]
        assert opened._store.rows("SELECT count(*), count(DISTINCT uid) FROM cases") == [(ROWS, ROWS)]
        assert opened.counts()["learnt_fixes"] == 60
        assert opened.find(Query.from_json(QUESTION)).matches[0].success.worked == ROWS // 60
        assert sum(opened.postings.n) - sum(fix_n(opened)) == pytest.approx(ROWS)
        assert opened.import_file("jsonl", lines).was_done


def fix_n(opened: Library) -> list[float]:
    """What our own fixes are worth without cases."""
    return [row.n for row in opened._store.fixes(own=True)]


def is_being_saved(index: Path) -> bool:
    """Whether a part of new arrays stands there; the folder may get its final name while we look into it."""
    with suppress(FileNotFoundError):
        return any(index.glob(".fixes-*/*.npy"))
    return False


def test_a_rebuild_that_is_killed_leaves_no_half_arrays(library: Path, taught: Path) -> None:
    expected = answer(Path(shutil.copy(taught, library.with_name("unkilled.db"))))
    assert expected["matches"][0]["outcomes"]["worked"] > 90
    index = Path(f"{library}-index")
    chance = random.Random(time.time_ns())
    killed_while_saving = 0
    for attempt in range(10):
        if killed_while_saving == 2:
            break
        with running(ASK, library, json.dumps(QUESTION)) as process:
            assert process.stdout.readline() == "ready\n"
            if attempt < 2:
                time.sleep(chance.uniform(0.0, 0.3))
            else:
                until = time.monotonic() + 20.0
                while not is_being_saved(index) and process.poll() is None and time.monotonic() < until:
                    pass
                time.sleep(chance.uniform(0.0, 0.004))
            process.send_signal(signal.SIGKILL)
            process.wait()
        left = list(index.glob(".fixes-*"))
        killed_while_saving += bool(left)
        whole = list(index.glob("fixes-*"))
        assert len(whole) <= 1
        for folder in whole:
            assert load_arrays(folder) is not None
            same(answer(library), expected)
            shutil.rmtree(folder)
        for folder in left:
            os.utime(folder, (1.0, 1.0))
        checked(library)
    assert killed_while_saving
    same(answer(library), expected)
    # What was left is old enough to be nobody's, and went when new arrays were kept.
    assert [folder.name.startswith("fixes-") for folder in index.iterdir()] == [True]
    same(answer(library), expected)


@pytest.mark.parametrize("damage", ["empty array", "cut array", "no array", "half a text", "empty text"])
def test_half_a_folder_is_replaced(tmp_path: Path, damage: str) -> None:
    arrays = {"a": np.arange(5000), "b": np.ones((40, 7))}
    folder = tmp_path / "fixes-x-1"
    save_folder(folder, arrays, {"told": 1}, "fixes-*")
    if "array" in damage:
        data = (folder / "a.npy").read_bytes()
        (folder / "a.npy").write_bytes(data[: 0 if damage == "empty array" else len(data) // 2])
        if damage == "no array":
            (folder / "a.npy").unlink()
    else:
        (folder / "told.json").write_text("{" if damage == "half a text" else "")
    assert load_folder(folder, arrays) is None
    save_folder(folder, arrays, {"told": 1}, "fixes-*")
    found, told = load_folder(folder, arrays)
    assert told == {"told": 1}
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_jobs_that_were_said_to_be_closed_are_closed(jobs: Path) -> None:
    chance = random.Random(time.time_ns())
    said: set[int] = set()
    for _ in range(3):
        with running(CLOSE, jobs) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.0, 0.03))
            process.send_signal(signal.SIGKILL)
            process.wait()
            told = process.stdout.read()
            said |= {int(number) for number in told[: told.rfind("\n") + 1].split()}
        checked(jobs)
        with Library.open(jobs) as opened:
            rows = opened._store.rows("SELECT id, outcome FROM cases WHERE outcome IS NOT NULL")
            assert said <= {number for number, _ in rows}
            assert dict(rows) == {number: "fixed" if number % 3 else "not-fixed" for number, _ in rows}
            # All that a closed job changes has changed, or none of it.
            cured = {number for number, outcome in rows if outcome == "fixed"}
            assert {row[0] for row in opened._store.rows("SELECT case_id FROM learnt WHERE weight = 1")} == cured
            assert opened._store.value("SELECT count(*) FROM outcome_log WHERE outcome IS NOT NULL") == len(rows)
            assert opened._store.meta("log_version") == str(len(rows))
            assert sum(curve.n for curve in opened.recalibration.classes.values()) == len(rows)
    with running(CLOSE, jobs) as process:
        process.communicate(timeout=120)
        assert process.returncode == 0
    with Library.open(jobs) as opened:
        assert opened.calibration().overall.closed == JOBS


def test_many_ask_while_one_writes(jobs: Path, lines: Path) -> None:
    ended = threading.Event()
    answers: dict[int, list[dict[str, Any]]] = {0: [], 1: [], 2: []}
    problems: list[str] = []
    words = ["case", "find", "--library", str(jobs), "--lang", "en"]

    def ask_one_process(name: int) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "huizhen", *words, "--jsonl"],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        last = False
        while not last:
            last = ended.is_set()  # seen before the question: this one is asked of all that was written
            for question in (QUESTION, OURS):
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                told = process.stdout.readline()
                answers[name].append(json.loads(told) if told else {"error": "no answer"})
        _, err = process.communicate(timeout=120)
        if process.returncode or err:
            problems.append(err)

    def ask_new_processes(name: int) -> None:
        last = False
        while not last:
            last = ended.is_set()
            asked = ["--symptom", QUESTION["symptom"], "--make", "BYD", "--model", "Song", "--dtc", "B1107-11@body"]
            done = subprocess.run(
                [sys.executable, "-m", "huizhen", *words, *asked, "--json"],
                cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            if done.returncode or done.stderr:
                problems.append(done.stderr)
            else:
                answers[name].append(json.loads(done.stdout))

    threads = [threading.Thread(target=ask_one_process, args=(name,)) for name in (0, 1)]
    threads.append(threading.Thread(target=ask_new_processes, args=(2,)))
    for thread in threads:
        thread.start()
    try:
        for script, more in ((IMPORT, (lines,)), (CLOSE, ())):
            with running(script, jobs, *more) as process:
                _, err = process.communicate(timeout=120)
                assert (process.returncode, err) == (0, "")
    finally:
        ended.set()
        for thread in threads:
            thread.join(120)
    assert problems == []
    assert min(map(len, answers.values())) >= 2
    for told in answers.values():
        assert all(one.get("error") is None for one in told)
        assert all(one["matches"] for one in told[1::2])
    checked(jobs)
    for question, late in ((QUESTION, [answers[0][-2], answers[1][-2], answers[2][-1]]), (OURS, [answers[0][-1]])):
        fresh = answer(jobs, question)
        assert fresh["matches"][0]["outcomes"]["worked"] == (ROWS // 60 if question is QUESTION else JOBS - JOBS // 3)
        for one in late:
            same(one, fresh)


def filled(folder: Path, *, but: int = 0) -> None:
    """Leaves no room but so many bytes."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - but))


@pytest.mark.parametrize(("lang", "words"), [("en", "no room on the disk"), ("zh", "磁盘空间不足")])
def test_a_full_disk_says_so_and_the_library_can_still_be_asked_and_rescued(
    library_disk: Path, jobs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], lang: str, words: str
) -> None:
    path = Path(shutil.copy(jobs, library_disk / "cases.db"))
    close = ["--lang", lang, "case", "close", "7", "--outcome", "fixed", "--fix", "weak-cell", "--library", str(path)]

    def ends_in_one_line(words_: list[str]) -> None:
        assert main(words_) == Exit.CASE_LIBRARY
        err = capfd.readouterr().err
        assert len(err.splitlines()) == 1
        assert words in err

    filled(library_disk, but=80 * 1024)  # room to open, none for what is written
    ends_in_one_line([*close, "--note", "x" * 400_000])
    (library_disk / "filler").unlink()
    filled(library_disk)
    ends_in_one_line(close)
    before = {one.name for one in library_disk.iterdir()}
    ends_in_one_line(["--lang", lang, "case", "backup", str(library_disk / "b.db"), "--library", str(path)])
    assert {one.name for one in library_disk.iterdir()} <= before | {"cases.db-wal", "cases.db-shm"}
    assert main(["case", "find", "--dtc", "P0AA6", "--library", str(path), "--json"]) == Exit.DONE
    assert main(["case", "backup", str(tmp_path / "rescued.db"), "--library", str(path)]) == Exit.DONE
    checked(tmp_path / "rescued.db")
    (library_disk / "filler").unlink()
    assert main(close) == Exit.DONE
    with Library.open(path) as opened:
        assert opened._store.rows("SELECT id FROM cases WHERE outcome IS NOT NULL") == [(7,)]
    checked(path)


@pytest.mark.parametrize("what", ["close", "backup"])
def test_a_file_that_may_not_grow_is_one_line(jobs: Path, tmp_path: Path, what: str) -> None:
    """Where a quota, and not the disk, sets the limit."""
    script = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))\n"
        "from huizhen.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    words = {
        "close": ["close", "7", "--outcome", "fixed", "--fix", "weak-cell", "--note", "x" * 100_000],
        "backup": ["backup", str(tmp_path / "backup" / "b.db")],
    }[what]
    (tmp_path / "backup").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, "--lang", "en", "case", *words, "--library", str(jobs)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # it would keep modules of at most 40 kB for everybody
    )  # fmt: skip
    assert done.returncode == Exit.CASE_LIBRARY
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be used" in done.stderr
    assert list((tmp_path / "backup").iterdir()) == []
    checked(jobs)
    with Library.open(jobs) as opened:
        assert opened.counts()["outcomes"] == 0


def test_a_backup_after_one_that_was_killed_is_whole(jobs: Path, tmp_path: Path) -> None:
    """The half file of the first has the name that the second writes under."""
    part = tmp_path / ".copy.db.part"
    part.write_bytes(jobs.read_bytes()[:9000])
    part.with_name(".copy.db.part-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600))
    assert main(["case", "backup", str(tmp_path / "copy.db"), "--library", str(jobs)]) == Exit.DONE
    checked(tmp_path / "copy.db")
    assert {path.name for path in tmp_path.iterdir()} == {"copy.db", "jobs.db"}
