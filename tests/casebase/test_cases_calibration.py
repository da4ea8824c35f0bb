"""The log class by class: languages, kinds of evidence, the three promises, and odds corrected by closed jobs."""

from __future__ import annotations

import json
import math
import sqlite3
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebase.calibration import WITHIN_MS, calibration_of
from casebase.errors import SimulatedOutcome
from casebase.jobclasses import evidence_of, language_of
from casebase.joblog import ClosedJob, Shown, first_matches
from casebase.library import Library
from casebase.query import Query
from casebase.recalibration import UNCORRECTED, Curve, corrected, recalibration_of
from huizhen.cli import main
from huizhen.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

ZH = {"dtcs": ["P0DE6-16@bms"], "symptom": "续航变短", "read": ["bms"]}
EN = {**ZH, "symptom": "range dropped"}


@pytest.fixture
def library(tmp_path: Path) -> Generator[Library]:
    with Library.open(tmp_path / "cases.db", create=True) as made:
        yield made


def ask(library: Library, question: dict[str, Any], **more: Any) -> tuple[int, Any]:
    query = Query.from_json(question)
    answers = library.find(query)
    return library.remember(query, answers, **more), answers


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ("续航变短", "zh"), ("ABS灯亮", "zh"), ("BMS 报 P0AA6", "zh"), ("客户称 range anxiety", "zh"),
        ("range dropped", "en"),
        ("the 比亚迪 makes a loud noise", "en"), ("", "none"), ("P0AA6-1A, 12 V 0x7E8", "none"), ("?? 70 %", "none"),
    ],
)  # fmt: skip
def test_the_language_of_a_complaint(said: str, language: str) -> None:
    assert language_of(said) == language


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ({"symptom": "续航变短"}, "words"), ({}, "words"), ({"dtcs": ["P0AA6"]}, "codes"),
        ({"silent": ["bms"]}, "codes"),
        ({"findings": ["battery.spread"]}, "codes"), ({"dtcs": ["P0AA6"], "features": {"spread_mv": 9.0}}, "measured"),
        ({"findings": ["engine.lean"], "causes": [{"code": "cause.air-leak", "odds": 0.6}]}, "measured"),
    ],
)  # fmt: skip
def test_the_kind_of_evidence(question: dict[str, Any], kind: str) -> None:
    assert evidence_of(Query.from_json(question)) == kind


def test_a_job_keeps_its_class_and_the_time_of_its_answer(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "recalls.csv"
    path.write_text(
        "NHTSA ID,DOCUMENT NAME,MAKE,MODEL,MODEL YEAR,SUMMARY\n24V100,a,FORD,F-150,2021,Rear axle bolt may break\n",
        "utf-8",
    )
    library.import_file("nhtsa-recalls", path)
    ask(library, ZH, answered_ms=4200)
    ask(library, {**EN, "features": {"spread_mv": 190.0}})
    vehicle = {"make": "FORD", "model": "F-150", "model_year": 2021}
    ask(library, {"symptom": "rear axle bolt broken", "vehicle": vehicle, "features": {"spread_mv": 9.0}})
    rows = library._store.rows("SELECT language, evidence_class, answered_ms FROM cases ORDER BY id")
    assert rows == [("zh", "codes", 4200), ("en", "measured", None), ("en", "notice", None)]
    with pytest.raises(Exception, match="CHECK"):
        ask(library, ZH, answered_ms=-1)


def test_a_scan_tells_how_long_its_answer_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "scans.db")
    Library.open(path, create=True).close()
    assert main(["scan", "--demo", "--json", "--symptom", "续航变短", "--library", path]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["cases"]["matches"]
    with Library.open(path) as opened:
        [(language, kind, answered_ms)] = opened._store.rows("SELECT language, evidence_class, answered_ms FROM cases")
    assert (language, kind) == ("zh", "measured")
    assert 0 < answered_ms < 120_000


def test_an_imported_scan_has_a_class_and_no_place_in_the_log(library: Library, tmp_path: Path) -> None:
    scan = (
        '{"schema": "huizhen.scan/1", "started": "2026-01-05T08:00:00Z", "duration_s": 41.5, "symptom": "续航变短",'
        ' "battery": {"features": {"spread_mv": 190.0}}, "cases": %s}\n'
    )
    path = tmp_path / "visits.jsonl"
    path.write_text(scan % '{"verdict": "test"}' + scan.replace("08:", "09:") % "null", "utf-8")
    assert library.import_file("scans", path).new >= 1
    rows = library._store.rows("SELECT language, evidence_class, answered_ms FROM cases ORDER BY id")
    assert rows[0] == ("zh", "measured", 41500)
    assert library.calibration().overall.shown == 0


def test_older_jobs_are_classed_by_what_they_kept(library: Library) -> None:
    for question in (ZH, EN, {**ZH, "features": {"spread_mv": 190.0}}):
        job, answers = ask(library, question)
        library.close_job(job, answers.matches[0].case_id, "fixed")
    told = library.calibration().to_json()["classes"]
    library._store.db.execute("UPDATE cases SET language = NULL, evidence_class = NULL, answered_ms = NULL")
    library._store.db.execute("UPDATE outcome_log SET p_raw = NULL")
    again = library.calibration().to_json()["classes"]
    names = [(one["language"], one["evidence"], one["shown"], one["closed"]) for one in again]
    assert names == [(one["language"], one["evidence"], one["shown"], one["closed"]) for one in told]
    assert names == [("zh", "codes", 1, 1), ("zh", "measured", 1, 1), ("en", "codes", 1, 1)]
    assert len(first_matches(library._store)) == 3


def job(number: int, outcome: str, cure: str | None, took: int | None = None, **more: Any) -> ClosedJob:
    told = {"verdict": "test", "language": "zh", "evidence": "codes", "shown": (Shown("a", 0.8, 0.9),), **more}
    return ClosedJob(number, outcome=outcome, cure=cure, answered_ms=took, **told)


def test_common_faults_and_three_minutes_by_hand() -> None:
    jobs = [
        *(job(i, "fixed", "a", 60_000 if i < 20 else None if i < 25 else WITHIN_MS + 1) for i in range(30)),
        *(job(30 + i, "fixed", "b", 1000) for i in range(10)),
        *(job(40 + i, "fixed", f"rare-{i}", 1000) for i in range(10)),
        *(job(50 + i, "not-fixed", "a", 1000) for i in range(4)),
        job(54, "something-else", None, 2000),
        job(55, "fixed", "a", 1000, verdict="unknown"),
    ]
    made = calibration_of(jobs, {("zh", "codes"): 60}, UNCORRECTED)
    assert made.common == ("a",)  # 31 of 51 cures
    assert (made.solved.hits, made.solved.n, made.missed) == (30, 36, 5)
    assert (made.in_time.hits, made.in_time.n) == (20, 36)
    assert (made.times.known, made.times.unknown, made.times.median_ms) == (51, 5, 2000)
    assert made.times.p95_ms == WITHIN_MS + 1
    assert made.overall.first.n == 55
    assert made.overall.error == pytest.approx(0.8 - 30 / 55)
    assert made.overall.error_raw == pytest.approx(0.9 - 30 / 55)
    # Where all are equally frequent none is left out by the order of their names.
    assert len(calibration_of([job(i, "fixed", f"f{i}") for i in range(7)], {}, UNCORRECTED).common) == 7
    assert calibration_of([], {}, UNCORRECTED).promises[2].verdict == "open"


def test_an_empty_log_changes_nothing_at_all(library: Library) -> None:
    assert library.recalibration.curve("zh", "codes").is_identity
    for match in library.find(Query.from_json(ZH)).matches:
        assert match.p == match.p_raw


def test_the_fit_is_the_most_probable_one() -> None:
    rng = np.random.default_rng(5)
    p = rng.uniform(0.05, 0.98, 300)
    right = rng.random(300) < 1 / (1 + np.exp(-(0.6 * np.log(p / (1 - p)) - 0.5)))
    curve = recalibration_of([("zh", "codes", float(a), bool(b)) for a, b in zip(p, right, strict=True)])
    family, own = curve.families["fixes"], curve.classes["zh", "codes"]
    others = [("en", "words", 0.8, False)] * 9
    few = recalibration_of(others).families["fixes"]
    leaning = recalibration_of([("zh", "codes", float(a), bool(b)) for a, b in zip(p, right, strict=True)] + others)
    leaning = leaning.classes["zh", "codes"]

    def badness(a: float, b: float, centre: tuple[float, float]) -> float:
        """Written anew, without logits clipped or vectors: likelihood of the jobs and of the thirty of the prior."""
        total = 0.0
        for told, cure in zip(p, right, strict=True):
            q = 1 / (1 + math.exp(-(a * math.log(told / (1 - told)) + b)))
            total -= math.log(q if cure else 1 - q)
        for told in (0.1, 0.3, 0.5, 0.7, 0.9):
            x = math.log(told / (1 - told))
            want = 1 / (1 + math.exp(-(centre[0] * x + centre[1])))
            q = 1 / (1 + math.exp(-(a * x + b)))
            total -= 6 * (want * math.log(q) + (1 - want) * math.log(1 - q))
        return total

    assert family == own  # there is no other class to lean on
    for made, centre in ((family, (1.0, 0.0)), (leaning, (few.a, few.b))):
        best = badness(made.a, made.b, centre)
        for da in (-0.01, 0.0, 0.01):
            for db in (-0.01, 0.0, 0.01):
                assert badness(made.a + da, made.b + db, centre) >= best - 1e-9
    assert own.a == pytest.approx(0.6, abs=0.2)
    assert own.b == pytest.approx(-0.5, abs=0.25)


def test_few_jobs_move_little_and_a_class_leans_on_its_family() -> None:
    few = recalibration_of([("zh", "codes", 0.8, False)] * 3)
    assert 0.6 < few.curve("zh", "codes").of(0.8) < 0.8
    many = recalibration_of([("zh", "codes", 0.8, False)] * 300 + [("en", "words", 0.8, True)] * 2)
    assert many.curve("zh", "codes").of(0.8) < 0.1
    assert many.curve("zh", "codes").of(0.8) < many.curve("en", "words").of(0.8) < 0.8
    assert many.curve("none", "measured") == many.families["fixes"]  # no jobs of its own
    assert many.curve("en", "notice").is_identity  # another family


pairs = st.lists(
    st.tuples(st.sampled_from(("zh", "en")), st.sampled_from(("codes", "notice")), st.floats(0.0, 1.0), st.booleans()),
    max_size=40,
)


@given(pairs, st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12), st.floats(0.0, 1.0))
def test_no_correction_turns_the_order_round(
    log: list[tuple[str, str, float, bool]], told: list[float], rest: float
) -> None:
    made = recalibration_of(log)
    for language, evidence in (("zh", "codes"), ("en", "notice")):
        curve = made.curve(language, evidence)
        assert curve.a > 0.0
        curved = [curve.of(p) for p in sorted(told)]
        assert curved == sorted(curved)
    total = sum(told) + rest
    if total < 1e-6:
        return
    before, left = [p / total for p in told], rest / total
    after, left_after = corrected(curve, before, left)
    assert sum(after) + left_after == pytest.approx(1.0)
    assert min(*after, left_after) >= 0.0
    order = sorted(range(len(before)), key=lambda i: -before[i])
    assert all(after[a] >= after[b] - 1e-12 for a, b in pairwise(order))
    if max(before) < 1.0:
        assert after[order[0]] == pytest.approx(curve.of(before[order[0]]))


def test_what_the_first_loses_goes_to_the_others_in_their_proportion() -> None:
    curve = Curve(1.0, math.log(1 / 6), 9)  # 0.6 is odds of 1.5, then of 0.25
    p, rest = corrected(curve, [0.1, 0.6, 0.2], 0.1)
    assert p[1] == pytest.approx(0.2)
    assert p == pytest.approx([0.2, 0.2, 0.2])  # 0.1 and 0.2 would be 0.2 and 0.4, and none passes the first
    assert rest == pytest.approx(0.4)
    p, rest = corrected(Curve(1.0, math.log(6), 9), [0.5, 0.3], 0.2)
    assert (*p, rest) == pytest.approx((6 / 7, 0.3 / 3.5, 0.2 / 3.5))


def test_the_log_lowers_odds_that_were_too_high_and_does_not_chase_its_tail(library: Library) -> None:
    before = library.find(Query.from_json(ZH))
    for _ in range(60):
        number, _ = ask(library, ZH)
        library.close_job(number, None, "something-else")
    after = library.find(Query.from_json(ZH))
    assert [m.case_id for m in after.matches] == [m.case_id for m in before.matches]
    assert after.matches[0].p < before.matches[0].p - 0.1
    assert after.p_unknown > before.p_unknown
    assert [m.p_raw for m in after.matches] == pytest.approx([m.p for m in before.matches])
    assert sum(m.p for m in after.matches) + after.p_unknown == pytest.approx(
        sum(m.p for m in before.matches) + before.p_unknown, abs=0.02
    )
    # What was told went down all the while; what the correction is fitted on did not.
    firsts = library._store.rows("SELECT p, p_raw FROM outcome_log WHERE rank = 1 ORDER BY case_id")
    assert firsts[-1][0] < firsts[0][0] - 0.1
    assert {round(raw, 9) for _, raw in firsts} == {round(before.matches[0].p, 9)}
    told = after.to_json()["matches"][0]
    assert told["p"] < told["p_raw"]
    english = library.find(Query.from_json(EN)).matches[0]
    assert after.matches[0].p < english.p < english.p_raw


def test_the_notices_are_corrected_by_their_own_jobs(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "recalls.csv"
    path.write_text(
        "NHTSA ID,DOCUMENT NAME,MAKE,MODEL,MODEL YEAR,SUMMARY\n24V100,a,FORD,F-150,2021,Rear axle bolt may break\n"
        "24V200,b,FORD,F-150,2021,Rear camera image may be blank\n",
        "utf-8",
    )
    library.import_file("nhtsa-recalls", path)
    vehicle = {"make": "FORD", "model": "F-150", "model_year": 2021}
    question = {"symptom": "rear axle bolt broken", "vehicle": vehicle}
    before, fixes = library.find(Query.from_json(question)), library.find(Query.from_json(EN))
    for _ in range(40):
        number, answers = ask(library, question)
        assert answers.matches[0].source_id == "24V100"
        library.close_job(number, None, "something-else")
    after = library.find(Query.from_json(question))
    assert after.matches[0].source_id == "24V100"
    assert after.matches[0].p < before.matches[0].p / 2
    assert library.find(Query.from_json(EN)) == fixes
    assert set(library.recalibration.families) == {"notices"}


def test_another_process_closing_a_job_counts_at_once_and_a_simulated_one_never(library: Library) -> None:
    jobs = [ask(library, ZH)[0] for _ in range(12)]
    before = library.find(Query.from_json(ZH)).matches[0]
    with Library.open(library.path) as other:
        for number in jobs:
            other.close_job(number, None, "something-else")
    after = library.find(Query.from_json(ZH)).matches[0]
    assert after.p < before.p
    assert library.recalibration.curve("zh", "codes").n == 12
    number, answers = ask(library, {**ZH, "simulated": True})
    with pytest.raises(SimulatedOutcome):
        library.close_job(number, answers.matches[0].case_id, "fixed")
    library._store.db.execute("UPDATE cases SET outcome = 'fixed' WHERE id = ?", (number,))
    assert library.recalibration.curve("zh", "codes").n == 12
    assert library.calibration().overall.closed == 12


def test_the_log_is_not_read_anew_for_anything_but_a_closed_job(library: Library) -> None:
    number, answers = ask(library, ZH)
    library.close_job(number, answers.matches[0].case_id, "fixed")
    fitted = library.recalibration
    ask(library, ZH)
    assert library.recalibration is fitted
    library.close_job(number, answers.matches[1].case_id, "fixed")
    assert library.recalibration is not fitted


def test_the_latest_jobs_are_found_without_reading_every_case(library: Library) -> None:
    seen: list[str] = []
    library._store.db.conn.set_trace_callback(seen.append)
    first_matches(library._store)
    library._store.db.conn.set_trace_callback(None)
    plan = [row[3] for row in library._store.rows(f"EXPLAIN QUERY PLAN {seen[-1]}")]
    assert "outcome_log_first" in plan[0]
    assert "cases USING INTEGER PRIMARY KEY" in plan[1]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_command_says_classes_promises_times_and_corrections_in_eighty_columns(
    library: Library, lang: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huizhen.console import display_width

    for i in range(9):
        number, answers = ask(library, (ZH, EN, {**EN, "features": {"spread_mv": 190.0}})[i % 3], answered_ms=7000)
        library.close_job(number, answers.matches[0].case_id, "fixed")
    number, _ = ask(library, ZH)
    library.close_job(number, None, "something-else")
    monkeypatch.setenv("COLUMNS", "80")
    words = {
        "en": ["zh · codes", "en · measured", "3 minutes", "median 7.0 s", "1 jobs without a known time", "is told as"],
        "zh": ["中文 · 有故障码", "英文 · 有测量值", "三分钟", "中位数 7.0 秒", "1 单用时不详", "报为"],
    }
    assert main(["--lang", lang, "case", "calibration", "--library", library.path]) == Exit.DONE
    out = capsys.readouterr().out
    for word in words[lang]:
        assert word in out
    plot = [line for line in out.splitlines() if "│" in line or "█" in line]
    assert plot
    assert max(map(display_width, plot)) <= 80
    assert ("zh · measured" not in out) if lang == "en" else ("中文 · 有测量值" not in out)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE cases SET language = 'de'",
        "UPDATE cases SET evidence_class = 'guess'",
        "UPDATE cases SET answered_ms = -5",
    ],
)
def test_the_file_refuses_what_is_no_class(library: Library, change: str) -> None:
    ask(library, ZH)
    with pytest.raises(sqlite3.IntegrityError):
        library._store.db.conn.execute(change)
