"""Many cases at a time: helper processes, sorted runs, arrays that follow from the file alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from casebase.imports.blocks import Block, blocks_of_lines
from casebase.library import Library
from casebase.postings import TERM_BITS
from casebase.query import Query
from casebase.runs import MOST_FIXES, Runs, by_term, key_of, numbers_of, rows_of, summed

KEY = bytes(32)
WORDS = ["range", "charge", "battery", "warning", "lamp", "noise", "heat", "cold", "brake", "motor", "fan", "pump"]


def line(number: int) -> dict[str, object]:
    """A closed case of one of forty patterns, in one of both languages."""
    pattern = number % 40
    said = (
        f"报修 {pattern} 号 续航变短"
        if number % 2
        else f"{WORDS[pattern % 12]} trouble number{pattern} {WORDS[number % 7]}"
    )
    return {
        "id": str(number), "symptom": said, "outcome": "fixed" if number % 11 else "not-fixed", "closed": "2026-03-01",
        "vehicle": {"make": "BYD", "model": "Song"}, "dtcs": [f"P1{pattern:03d}@bms"], "read": ["bms"],
        "fix": {"component": f"part {pattern}", "failure_mode": "worn", "action": "replace"},
        **({"vin": f"LRW3E7EK0NC{number:06d}"} if number % 3 == 0 else {}),
    }  # fmt: skip


def lines(count: int) -> list[bytes]:
    """Lines of a file; two of them are none."""
    made = [json.dumps(line(number), ensure_ascii=False).encode() + b"\n" for number in range(count)]
    made[7], made[count - 5] = b"{not json\n", b"\n"
    return made


def same(one: Block, other: Block) -> bool:
    """Whether two blocks say the same."""
    evidence, further = one[3].evidence, other[3].evidence
    return (
        one[:3] == other[:3]
        and one[3].columns == other[3].columns
        and one[3].fix_ids == other[3].fix_ids
        and one[3].teaches == other[3].teaches
        and evidence.names == further.names
        and all(
            np.array_equal(getattr(evidence, name), getattr(further, name))
            for name in ("word_case", "word", "case", "term", "count")
        )
    )


@pytest.fixture(scope="module")
def told() -> list[bytes]:
    return lines(9000)


def test_helpers_say_what_this_process_says(told: list[bytes]) -> None:
    here = list(blocks_of_lines(told, KEY, "", {}, helpers=0))
    there = list(blocks_of_lines(told, KEY, "", {}, helpers=2))
    assert [block[0] for block in there] == [2000, 4000, 6000, 8000, 9000]
    assert len(here) == len(there)
    assert all(same(one, other) for one, other in zip(here, there, strict=True))
    assert [number for block in there for number, _ in block[2]] == [8]
    sent = {fix_id for block in there for fix_id in block[3].fixes}
    assert sent == {fix_id for block in here for fix_id in block[3].fixes}


def children() -> list[int]:
    """Processes that this one started."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        found.update(int(number) for number in (task / "children").read_text().split())
    return sorted(found)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_helper_that_is_killed_costs_time_and_no_case(told: list[bytes]) -> None:
    before = set(children())
    made = []
    for block in blocks_of_lines(told, KEY, "", {}, helpers=1):
        made.append(block)
        for child in set(children()) - before:
            os.kill(child, signal.SIGKILL)
    whole = list(blocks_of_lines(told, KEY, "", {}, helpers=0))
    assert all(same(one, other) for one, other in zip(made, whole, strict=True))


def test_helpers_end_with_whoever_asked(told: list[bytes]) -> None:
    before = set(children()) if Path("/proc/self/task").exists() else set()
    blocks = blocks_of_lines(told, KEY, "", {}, helpers=2)
    next(blocks)
    blocks.close()
    assert not Path("/proc/self/task").exists() or set(children()) <= before


def test_the_arrays_of_an_import_are_those_that_follow_from_the_file(tmp_path: Path, told: list[bytes]) -> None:
    (tmp_path / "cases.jsonl").write_bytes(b"".join(told))
    question = Query.from_json(
        {"dtcs": ["P1004@bms"], "symptom": "lamp trouble number4", "vehicle": {"make": "byd", "model": "song"}}
    )
    told_again: list[tuple[int, int]] = []
    with Library.open(tmp_path / "cases.db", create=True) as library:
        result = library.import_file("jsonl", tmp_path / "cases.jsonl")
        assert (result.new, result.bad_rows) == (8998, 1)
        made = library.find(question)
        count = len(library.postings)
    assert made.matches[0].title.en == "part 4 · worn · replace"
    assert list(Path(f"{tmp_path / 'cases.db'}-index").glob("fixes-*"))
    shutil.rmtree(f"{tmp_path / 'cases.db'}-index")
    with Library.open(tmp_path / "cases.db") as library:
        library.tell_catching_up(lambda done, of: told_again.append((done, of)))
        again = library.find(question)
        assert len(library.postings) == count
    assert told_again[-1][0] == told_again[-1][1] > 8000
    assert [(m.case_id, round(m.p, 9)) for m in again.matches] == [(m.case_id, round(m.p, 9)) for m in made.matches]


def test_runs_put_away_are_merged_as_if_memory_had_held_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    runs = Runs(tmp_path)
    keys, counts = [], []
    for _ in range(8):
        rows, numbers = rng.integers(0, 3000, 400_000), rng.integers(0, 400, 400_000).astype(np.uint64)
        key = key_of(rows, numbers << np.uint64(30))
        count = rng.integers(1, 4, key.size).astype(np.float32)
        keys.append(key)
        counts.append(count)
        runs.add(key, count)
    parts = list(runs.blocks(3000))
    want_keys, want_counts = summed(np.concatenate(keys), np.concatenate(counts))
    assert len(parts) > 1
    assert np.array_equal(np.concatenate([part[0] for part in parts]), want_keys)
    assert np.array_equal(np.concatenate([part[1] for part in parts]), want_counts)
    numbers, indptr, rows, columns = by_term(parts)
    assert np.array_equal(numbers, np.unique(numbers_of(want_keys)))
    for at in (0, 17, numbers.size - 1):
        mine = numbers_of(want_keys) == numbers[at]
        assert np.array_equal(rows[indptr[at] : indptr[at + 1]], rows_of(want_keys)[mine])
        assert np.array_equal(columns[indptr[at] : indptr[at + 1]], want_counts[mine])
    runs.close()
    assert not list(tmp_path.iterdir()), "what was put away has no name and is gone"


def test_more_fixes_than_a_key_can_tell_apart_are_refused() -> None:
    last = key_of(np.array([MOST_FIXES - 1]), np.array([(1 << TERM_BITS) - 1], dtype=np.uint64))
    assert int(last[0]) == (1 << 64) - 1
    with pytest.raises(ValueError, match="fixes"):
        key_of(np.array([MOST_FIXES]), np.zeros(1, np.uint64))


def test_where_there_is_no_room_memory_holds_what_runs_would(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    runs = Runs(tmp_path / "file")
    keys = [key_of(np.arange(at, at + 900_000) % 3000, np.arange(900_000, dtype=np.uint64)) for at in range(3)]
    for key in keys:
        runs.add(key, np.ones(key.size, dtype=np.float32))
    parts = list(runs.blocks(3000))
    want = summed(np.concatenate(keys), np.ones(sum(key.size for key in keys), dtype=np.float32))
    assert np.array_equal(np.concatenate([part[0] for part in parts]), want[0])
    assert np.array_equal(np.concatenate([part[1] for part in parts]), want[1])
