"""Cases come in, count at once for everybody, and teach; what fails loses its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest

from casebase import fixarrays
from casebase.errors import (
    BadEvidence,
    FixUnknown,
    ImportUnreadable,
    JobUnknown,
    LibraryMissing,
    NotALibrary,
    SimulatedOutcome,
)
from casebase.library import Library
from casebase.query import Query
from casebase.record import case_from_json
from casebase.schema import MIGRATIONS
from casebase.store import Store
from casebase.success import beta_quantile, success_of

if TYPE_CHECKING:
    from collections.abc import Generator

REPOSITORY = Path(__file__).resolve().parents[2]
VIN = "LRW3E7EK0NC123456"


def case(number: int, **more: Any) -> dict[str, Any]:
    """A case that no fix of ours knows."""
    return {
        "id": number,
        "symptom": "sunroof blind rattles at 70 km/h, 天窗遮阳帘异响",
        "vehicle": {"make": "BYD", "model": "Song PLUS", "model_year": 2022},
        "dtcs": ["B1999-11@body"],
        "outcome": "fixed",
        "closed": "2026-03-04",
        "fix": {"component": "sunroof blind", "failure_mode": "guide worn", "action": "replace guide"},
        **more,
    }


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return path


@pytest.fixture
def library(tmp_path: Path) -> Generator[Library]:
    with Library.open(tmp_path / "cases.db", create=True) as made:
        yield made


QUESTION = {"symptom": "天窗遮阳帘异响", "vehicle": {"make": "比亚迪", "model": "Song PLUS"}, "dtcs": ["B1999-11@body"]}


def names(library: Library, question: dict[str, Any] | None = None) -> list[str]:
    return [match.title.en for match in library.find(Query.from_json(question or QUESTION)).matches]


def test_cases_become_a_fix_that_is_found_again(library: Library, tmp_path: Path) -> None:
    assert not any("sunroof" in name for name in names(library))
    result = library.import_file("jsonl", write(tmp_path / "cases.jsonl", [case(i) for i in range(12)]))
    assert (result.rows, result.new, result.bad_rows) == (12, 12, 0)
    cases = library.find(Query.from_json(QUESTION))
    first = cases.matches[0]
    assert first.title.en == "sunroof blind · guide worn · replace guide"
    assert first.source_class == "cases"
    assert first.success is not None
    assert (first.success.worked, first.success.failed) == (12, 0)
    assert first.p > 0.5
    assert library.counts()["learnt_fixes"] == 1
    other = {**QUESTION, "vehicle": {"make": "Tesla", "model": "Model 3"}}
    told = library.find(Query.from_json(other))  # no car of this make knows it: the others are asked, and it says so
    assert told.verdict.value != "direct"
    assert [reason.kind for reason in told.matches[0].against[:1]] == ["vehicle"]


def test_another_process_sees_a_new_case_at_once(library: Library, tmp_path: Path) -> None:
    with Library.open(library.path) as reader:
        assert not any("sunroof" in name for name in names(reader))
        library.add_cases([case_from_json(case(i), library.cases.car_key) for i in range(5)])
        assert "sunroof" in names(reader)[0]
        library.import_file("jsonl", write(tmp_path / "more.jsonl", [case(i) for i in range(5, 9)]))
        assert reader.find(Query.from_json(QUESTION)).matches[0].success.worked == 9


def test_arrays_that_are_kept_answer_as_those_made_anew(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixarrays, "_BESIDE", 20)
    lines = [case(i) for i in range(30)]
    lines += [
        case(100 + i, dtcs=["P0AA6-1A@bms"], fix="isolation-compressor", symptom="空调一开就报绝缘") for i in range(30)
    ]
    library.import_file("jsonl", write(tmp_path / "cases.jsonl", lines))
    questions = [QUESTION, {"dtcs": ["P0AA6-1A@bms"], "symptom": "开空调报绝缘", "read": ["bms"]}]
    here = [library.find(Query.from_json(q)).to_json() for q in questions]
    folder = Path(f"{library.path}-index")
    assert [path.name for path in folder.iterdir() if path.name.startswith("fixes-")]
    with Library.open(library.path) as kept:
        assert [kept.find(Query.from_json(q)).to_json() for q in questions] == here
        kept.add_cases([case_from_json(case(i), kept.cases.car_key) for i in range(500, 503)])
        beside = [kept.find(Query.from_json(q)).to_json() for q in questions]
    for path in folder.glob("fixes-*/told.json"):
        path.write_text("{")  # half of one
    with Library.open(library.path) as anew:
        again = [anew.find(Query.from_json(q)).to_json() for q in questions]
    assert [m["source_id"] for a in again for m in a["matches"]] == [
        m["source_id"] for a in beside for m in a["matches"]
    ]
    for one, other in zip(again, beside, strict=True):
        for a, b in zip(one["matches"], other["matches"], strict=True):
            assert a["p"] == pytest.approx(b["p"], abs=2e-4)


def test_the_same_case_is_one_case(library: Library, tmp_path: Path) -> None:
    path = write(tmp_path / "cases.jsonl", [case(1), case(1), case(2)])
    assert library.import_file("jsonl", path).new == 2
    assert library.import_file("jsonl", path).was_done
    assert library.import_file("jsonl", write(tmp_path / "again.jsonl", [case(2), case(3)])).new == 1


def test_bad_lines_are_reported_and_the_others_taken(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    good = json.dumps(case(1))
    lines = [
        good, "{", "[]", json.dumps(case(2, outcome="perhaps")), json.dumps(case(3, closed="yesterday")),
        json.dumps(case(4, fix="no-such-fix")), json.dumps(case(5, dtcs=["hello"])),
        json.dumps(case(6, mileage_km="far")), "", json.dumps({"vehicle": {"make": "x"}}), json.dumps(case(7)),
    ]  # fmt: skip
    path.write_text("\n".join(lines), "utf-8")
    result = library.import_file("jsonl", path)
    assert result.new == 2
    assert {row for row, _ in result.bad} == {2, 3, 4, 5, 6, 7, 8, 10}
    assert all(why.zh != why.en for _, why in result.bad)


def test_what_goes_out_comes_in_again(library: Library, tmp_path: Path) -> None:
    library.import_file("jsonl", write(tmp_path / "cases.jsonl", [case(i, vin=VIN) for i in range(4)]))
    out = list(library.cases.all())
    assert len(out) == 4
    assert VIN not in json.dumps(out)
    with Library.open(tmp_path / "other.db", create=True) as other:
        assert other.import_file("jsonl", write(tmp_path / "out.jsonl", out)).new == 4
        assert names(other) == names(library)


def test_a_car_is_found_again_and_its_vin_is_nowhere(library: Library, tmp_path: Path) -> None:
    lines = [
        case(1, vin=VIN, closed="2025-01-01"),
        case(2, vin=VIN.lower(), closed="2026-01-01"),
        case(3, vin="X" * 17),
    ]
    library.import_file("jsonl", write(tmp_path / "cases.jsonl", lines))
    assert [visit["outcome"] for visit in library.cases.of_car(VIN)] == ["fixed", "fixed"]
    assert library.cases.of_car("Y" * 17) == []
    library.close()
    assert VIN.encode() not in Path(library.path).read_bytes()
    with Library.open(tmp_path / "other.db", create=True) as other:
        assert other.cases.car_key(VIN) != ""
        assert other.cases.of_car(VIN) == []


def test_a_closed_job_teaches_and_an_answer_can_be_taken_back(library: Library) -> None:
    query = Query.from_json({"dtcs": ["P0DE6-16@bms"], "symptom": "续航变短", "read": ["bms"]})
    job = library.remember(query, library.find(query), vin=VIN)
    assert library.shown_for(job)[0] == library.find(query).matches[0].case_id
    library.close_job(job, "weak-cell", "fixed", note="module 3")
    row = library.postings.fix_ids.index(library.get_fix("weak-cell").fix_id)
    before = library.postings.n[row]
    assert library.find(query).matches[0].success.told.en == "1 of 1 worked"
    library.close_job(job, "sampling-line", "fixed")
    assert library.postings.n[row] == before - 1
    assert library.outcomes() == {
        library.get_fix("sampling-line").fix_id: {"fixed": 1, "not-fixed": 0, "something-else": 0}
    }
    assert [visit["case"] for visit in library.cases.of_car(VIN)] == [job]
    with pytest.raises(JobUnknown):
        library.close_job(9999, "weak-cell", "fixed")
    with pytest.raises(FixUnknown):
        library.close_job(job, "no-such-fix", "fixed")
    with pytest.raises(JobUnknown):
        library.shown_for(9999)


def test_simulated_jobs_teach_nothing(library: Library, tmp_path: Path) -> None:
    lines = [case(i, simulated=True) for i in range(10)]
    library.import_file("jsonl", write(tmp_path / "sim.jsonl", lines))
    assert not any("sunroof" in name for name in names(library))
    assert library.outcomes() == {}
    query = Query.from_json({"dtcs": ["P0DE6-16@bms"], "simulated": True})
    job = library.remember(query, library.find(query), vin=VIN)
    with pytest.raises(SimulatedOutcome):
        library.close_job(job, "weak-cell", "fixed")
    assert library.cases.of_car(VIN) == []
    with pytest.raises(Exception, match="no experience"):
        library._store.db.execute("INSERT INTO learnt (case_id, fix_id, weight) VALUES (?, 'x', 1)", (job,))


def test_a_fix_that_stops_working_loses_its_place(library: Library, tmp_path: Path) -> None:
    question = {"dtcs": ["P0AA6-1A@bms"], "symptom": "开空调报绝缘", "read": ["bms"]}
    lines = [case(i, **{**question, "fix": "isolation-compressor"}) for i in range(8)]
    library.import_file("jsonl", write(tmp_path / "good.jsonl", lines))
    good = library.find(Query.from_json(question)).matches[0]
    assert good.source_id == "isolation-compressor"
    assert good.success.factor > 0
    lines = [
        case(
            100 + i,
            **{**question, "fix": "isolation-compressor", "outcome": "not-fixed", "closed": f"2026-04-0{i + 1}"},
        )
        for i in range(4)
    ]
    library.import_file("jsonl", write(tmp_path / "bad.jsonl", lines))
    cases = library.find(Query.from_json(question))
    bad = next(match for match in cases.matches if match.source_id == "isolation-compressor")
    assert bad.success.stopped
    assert bad.p < good.p / 2
    assert "8 of 12 worked, the last 4 failed" in bad.against[0].text.en
    assert "最近 4 次均无效" in bad.against[0].text.zh


def test_success_by_hand() -> None:
    assert success_of([], "physics") is None
    assert beta_quantile(1.0, 1.0, 0.2) == pytest.approx(0.2, abs=2e-3)
    assert beta_quantile(2.0, 1.0, 0.25) == pytest.approx(0.5, abs=2e-3)  # x**2
    two, three = success_of([True] * 5 + [False] * 2, "physics"), success_of([True] * 5 + [False] * 3, "physics")
    assert not two.stopped
    assert three.stopped
    assert success_of([False] + [True] * 60, "physics").lower > success_of([True] * 60 + [False], "physics").lower


MAP = """
assume = "fixed"
role = "engine"
[columns]
"日期" = "closed"
"车架号" = "vin"
"品牌" = "make"
"车型" = "model"
"年款" = "model_year"
"里程" = "mileage_km"
"故障现象" = "symptom"
"故障码" = "dtcs"
"部件" = "component"
"原因" = "failure_mode"
"维修方法" = "action"
"结果" = "outcome"
[outcomes]
"已修好" = "fixed"
"返修" = "not-fixed"
"""
SHEET = [
    "日期|车架号|品牌|车型|年款|里程|故障现象|故障码|部件|原因|维修方法|结果",
    f"2026/1/5|{VIN}|比亚迪|秦PLUS|2022款|3.2万|怠速抖动，加速突突|P0301、P0300|点火线圈|击穿|更换一缸点火线圈|已修好",
    "2026年1月6日||比亚迪|秦PLUS|2022|32,500 km|怠速抖动|P0301|点火线圈|击穿|更换一缸点火线圈|",
    "昨天||比亚迪|秦PLUS|2022|1|抖动||||更换火花塞|",
    "2026-01-07||比亚迪|秦PLUS|去年|1|抖动||||更换火花塞|",
    "2026-01-08||比亚迪|秦PLUS|2021|1|抖动|P0302|点火线圈|击穿|更换二缸点火线圈|大概好了",
    "|||||||||||",
]


@pytest.mark.parametrize("kind", ["utf-8", "gb18030", "tabs", "xlsx"])
def test_a_workshops_own_sheet(library: Library, tmp_path: Path, kind: str) -> None:
    mapping = tmp_path / "map.toml"
    mapping.write_text(MAP, "utf-8")
    if kind == "xlsx":
        path = tmp_path / "jobs.xlsx"
        book = openpyxl.Workbook()
        for row in SHEET:
            book.active.append(row.split("|"))
        book.save(path)
    else:
        path = tmp_path / "jobs.csv"
        mark = "\t" if kind == "tabs" else ","
        text = "\n".join(mark.join(f'"{cell}"' for cell in row.split("|")) for row in SHEET)
        path.write_bytes(text.encode("gb18030" if kind == "gb18030" else "utf-8-sig"))
    result = library.import_file("sheet", path, mapping=mapping)
    assert (result.rows, result.new, result.bad_rows) == (5, 2, 3)
    assert [row for row, _ in result.bad] == [4, 5, 6]
    stored = list(library.cases.all())
    assert [round(one["mileage_km"]) for one in stored] == [32000, 32500]
    assert [one["closed"][:10] for one in stored] == ["2026-01-05", "2026-01-06"]
    asked = {
        "symptom": "怠速抖动",
        "dtcs": ["P0301@engine"],
        "vehicle": {"make": "BYD", "model": "秦PLUS", "model_year": 2022},
    }
    assert any("更换一缸点火线圈" in name for name in names(library, asked))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs a table"),
        ("[columns]\na = 'price'", "none of"),
        ("[columns]\na = 'symptom'\n[outcomes]\nx = 'good'", "none of"),
        ("[columns", "Expected"),
        ("[columns]\na = 'symptom'\n[other]", "unknown key"),
        ("[columns]\nmissing = 'symptom'", "no column"),
    ],
)
def test_a_mapping_that_says_something_else_is_refused(
    library: Library, tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "map.toml").write_text(text, "utf-8")
    (tmp_path / "jobs.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(ImportUnreadable, match=reason):
        library.import_file("sheet", tmp_path / "jobs.csv", mapping=tmp_path / "map.toml")
    with pytest.raises(ImportUnreadable, match="mapping"):
        library.import_file("sheet", tmp_path / "jobs.csv")
    with pytest.raises(BadEvidence):
        library.import_file("something", tmp_path / "jobs.csv")


def test_complaints_are_cases_that_nobody_has_solved(library: Library, shared: Path) -> None:
    result = library.import_file("nhtsa-flat", shared / "data" / "nhtsa" / "sample-data_complaints.txt")
    assert (result.rows, result.new, result.bad_rows) == (100, 98, 0)  # two lines stand twice
    stored = list(library.cases.all())
    assert stored[0]["component"] == "AIR BAGS:FRONTAL"
    assert "PHOENIX" not in json.dumps(stored)
    assert library.outcomes() == {}


def test_a_killed_import_of_cases_loses_nothing(tmp_path: Path) -> None:
    path, store = write(tmp_path / "many.jsonl", [case(i) for i in range(9000)]), tmp_path / "killed.db"
    script = (
        "import os\nfrom casebase.library import Library\n"
        "def stop(r):\n    if r.rows >= 4000:\n        os.kill(os.getpid(), 9)\n"
        f"with Library.open({str(store)!r}, create=True) as x:\n"
        f"    x.import_file('jsonl', {str(path)!r}, progress=stop)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run([sys.executable, "-c", script], env=env, timeout=120, check=False).returncode == -9
    with Library.open(store) as library:
        first = library.find(Query.from_json(QUESTION)).matches[0]
        assert first.success.worked == 4000
        assert library.import_file("jsonl", path).new == 5000
        assert library.find(Query.from_json(QUESTION)).matches[0].success.worked == 9000
        assert library.postings.n.max() == pytest.approx(9000)


def test_a_backup_is_whole_while_others_write_and_comes_back(library: Library, tmp_path: Path) -> None:
    library.import_file("jsonl", write(tmp_path / "one.jsonl", [case(i) for i in range(6)]))
    library.backup(tmp_path / "backup.db")
    library.import_file("jsonl", write(tmp_path / "two.jsonl", [case(i, fix="weak-cell") for i in range(10, 20)]))
    assert library.find(Query.from_json(QUESTION)).matches[0].success.worked in (6, 10)
    library.restore(tmp_path / "backup.db")
    assert library.counts()["jobs"] == 6
    assert "sunroof" in names(library)[0]
    assert library.postings.n.max() < 60
    library.import_file("jsonl", write(tmp_path / "three.jsonl", [case(i) for i in range(20, 26)]))
    assert library.find(Query.from_json(QUESTION)).matches[0].success.worked == 12
    (tmp_path / "other").write_text("no library")
    with pytest.raises(NotALibrary):
        library.restore(tmp_path / "other")
    with pytest.raises(LibraryMissing):
        library.restore(tmp_path / "missing")
    assert library.counts()["jobs"] == 12


def test_two_imports_at_once_lose_nothing(library: Library, tmp_path: Path) -> None:
    path = write(tmp_path / "one.jsonl", [case(i) for i in range(5000)])
    with Library.open(library.path) as other:
        late = iter([other])

        def meanwhile(_: object) -> None:
            for one in late:
                one.add_cases([case_from_json(case(100_000 + i), one.cases.car_key) for i in range(7)])

        library.import_file("jsonl", path, progress=meanwhile)
        for opened in (library, other):
            assert opened.find(Query.from_json(QUESTION)).matches[0].success.worked == 5007
            assert opened.postings.n.max() == pytest.approx(5007)
    with Library.open(library.path) as again:
        assert again.postings.n.max() == pytest.approx(5007)


def test_a_recall_that_cured_the_car_is_an_outcome_and_no_lesson(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "recalls.csv"
    path.write_text(
        "NHTSA ID,DOCUMENT NAME,MAKE,MODEL,MODEL YEAR,SUMMARY\n24V100,a,FORD,F-150,2021,Rear axle bolt may break\n",
        "utf-8",
    )
    library.import_file("nhtsa-recalls", path)
    vehicle = {"make": "FORD", "model": "F-150", "model_year": 2021}
    query = Query.from_json({"symptom": "rear axle bolt broken", "vehicle": vehicle})
    job = library.remember(query, library.find(query))
    library.close_job(job, "24V100", "fixed")
    assert library.outcomes() == {
        library.get_notice("24V100").case_id: {"fixed": 1, "not-fixed": 0, "something-else": 0}
    }
    assert library.find(query).matches[0].source_id == "24V100"
    assert library.calibration().overall.first.hits == 1
    assert library.escalations() == []


def test_a_backup_of_an_older_library_is_only_read(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "older.db"
    with monkeypatch.context() as before:
        before.setattr("casebase.store.MIGRATIONS", MIGRATIONS[:2])
        Store.open(older, create=True).close()
    data = older.read_bytes()
    library.restore(older)
    assert older.read_bytes() == data
    assert library._store.migrations() == tuple(name for name, _ in MIGRATIONS)
    assert library.counts()["fixes"] > 150
    assert library.find(Query.from_json({"dtcs": ["P0DE6-16@bms"], "read": ["bms"]})).matches


def test_calibration_counts_what_was_shown_and_what_it_was(library: Library) -> None:
    query = Query.from_json({"dtcs": ["P0DE6-16@bms"], "symptom": "续航变短", "read": ["bms"]})
    answers = library.find(query)
    jobs = [library.remember(query, answers) for _ in range(40)]
    for job in jobs[:27]:
        library.close_job(job, answers.matches[0].case_id, "fixed")
    for job in jobs[27:30]:
        library.close_job(job, answers.matches[1].case_id, "fixed")
    for job in jobs[30:33]:
        library.close_job(job, None, "something-else")
    made = library.calibration()
    overall = made.overall
    assert (overall.shown, overall.closed) == (40, 33)
    assert (overall.first.hits, overall.first.n, overall.three.hits) == (27, 33, 30)
    assert overall.covered.hits == 33
    low, high = overall.first.interval
    assert low == pytest.approx(0.656, abs=0.001)  # Wilson by hand: 27 of 33, z 1.96
    assert high == pytest.approx(0.914, abs=0.001)
    # The common half of the 30 cured jobs is the one fix of 27; the three that nothing cured count as missed.
    assert made.common == (answers.matches[0].case_id,)
    assert (made.solved.hits, made.solved.n, made.missed) == (27, 30, 3)
    verdicts = {promise.name: promise.verdict for promise in made.promises}
    assert verdicts == {
        "fixes-for-common-faults": "yes", "diagnostic-accuracy": "open", "within-three-minutes": "no",
    }  # fmt: skip
    assert overall.reliability[0][1:] == (33, 27)
    assert sum(n for _, n, _ in overall.reliability) == 33
