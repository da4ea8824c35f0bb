"""A closed consultation waits as a draft without names, and becomes a case when a person says so."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from case_reports import weak_cell

from casebase.drafts import SCHEMA, draft_from_json
from casebase.errors import BadEvidence, DraftUnknown, FixUnknown
from casebase.library import Library
from casebase.query import Query
from casebase.samewords import fixes_of_words
from diag.personal import without_names
from huizhen.cli import main
from huizhen.exits import Exit

VIN = "LHZEV4D04RA490472"
NAMES = (VIN, VIN.lower(), "490472", "13812345678", "zhang.san@example.com", "粤B·D12345", "粤BD12345", "zhang_san88")


def consultation(**more: Any) -> dict[str, Any]:
    scan = json.loads(json.dumps(weak_cell().to_json()))
    scan["simulated"] = False
    scan["vehicle"] = {**scan["vehicle"], "vin": VIN, "make": "BYD", "model": "Han"}
    document = {
        "schema": SCHEMA, "id": "room-7f3a", "opened": "2026-11-02T08:00:00Z", "closed": "2026-11-02T09:10:00Z",
        "vehicle": {"batch": "B7"}, "mileage_km": 61_000, "scan": scan,
        "symptom": f"续航变短，车牌粤B·D12345，电话13812345678，VIN {VIN}",
        "statement": {
            "lang": "zh", "component": "电池模组", "failure_mode": "单体电芯衰减",
            "action": "更换衰减的单体电芯所在模组", "outcome": "fixed",
            "note": "车主微信号: zhang_san88，车架尾号 490472，邮箱 zhang.san@example.com",
        },
        "tried": [{"what": "均衡充电", "result": "压差仍在"}, "联系 138 1234 5678 后更换模组"],
    }  # fmt: skip
    return {**document, **more}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "cases.db")


def write(tmp_path: Path, document: object) -> str:
    file = tmp_path / "consultation.json"
    file.write_text(json.dumps(document, ensure_ascii=False), "utf-8")
    return str(file)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["case", *words, "--json"]) == Exit.DONE
    return json.loads(capsys.readouterr().out)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("13812345678", "[tel]"), ("+86 138-1234-5678", "[tel]"), ("0755-26781234", "[tel]"), ("400-820-8888", "[tel]"),
        ("+49 (0)171 2345678", "[tel]"), ("+1 415 555 2671", "[tel]"), ("(415) 555-2671", "[tel]"),
        ("a.b+c@sub.example.co.uk", "[mail]"), ("粤B·D12345", "[plate]"), ("粤ad12345", "[plate]"),
        ("京A12345", "[plate]"),
        ("B-AB 1234", "[plate]"), ("AB12 CDE", "[plate]"), ("AB-123-CD", "[plate]"), (VIN, "[VIN]"),
        (VIN.lower(), "[VIN]"), ("LHZ EV4D0 4RA 490472", "[VIN]"), ("ＬＨＺＥＶ４Ｄ０４ＲＡ４９０４７２", "[VIN]"),
        ("110101199003071234", "[id]"), ("6222 0212 3456 7890", "[id]"),
    ],
)  # fmt: skip
def test_what_leads_to_a_person_goes(text: str, mark: str) -> None:
    assert without_names(text) == mark
    assert without_names(f"客户：{text}。") == f"客户：{mark}。"
    assert without_names(f"see {text}, please") == f"see {mark}, please"


@pytest.mark.parametrize(
    "text",
    [
        "P0AA6-1A P0DE6-16 U0111-87, SPN 3251 FMI 18", "84000 km on 2024-09-02, 14:30:05, 12.7 V, 400 V, DC-DC 12 V",
        "cell 31 3.612 V, spread 190 mV, 0x7EC, 62F19001", "replaced 3660100-EV400 with 3660100-EV401",
        "更换了新的BMS主板，软件3.4.8，2025年1月6日，里程12.5万公里", "coolant plate 2 leaks, 0800 h, 0.0042 ohm",
        "isolation 120 kΩ after 3000 s; AC-DC 400 V", "Please check the twelve volt battery again and again",
    ],
)  # fmt: skip
def test_what_is_of_the_car_stays(text: str) -> None:
    assert without_names(text) == text


def test_labels_give_away_what_has_no_form() -> None:
    assert without_names("licence plate KX 55 ABC was seen") == "licence plate [plate] was seen"
    assert without_names("QQ 12345678，微信号：zhang_san88") == "QQ [id]，微信号：[id]"
    assert without_names(f"ends with {VIN[-6:]} or {VIN[-8:]}", vins=(VIN,)) == "ends with [VIN] or [VIN]"


# --- drafts ----------------------------------------------------------------------------------------------------------


def test_a_draft_has_no_names_anywhere(path: str) -> None:
    with Library.open(path, create=True) as library:
        number, is_new = library.drafts.take(consultation())
        assert (number, is_new) == (1, True)
        [draft] = library.drafts.waiting()
    assert draft.statement.outcome == "fixed"
    assert draft.tried[0] == ("均衡充电", "压差仍在")
    assert draft.tried[1][0] == "联系 [tel] 后更换模组"
    assert "续航变短" in draft.question["symptom"]
    [[body]] = sqlite3.connect(path).execute("SELECT body FROM drafts").fetchall()
    for name in NAMES:
        assert name not in body
    data = Path(path).read_bytes()
    assert VIN.encode() not in data
    assert VIN.encode().hex().encode() not in data.lower()


def test_a_draft_is_not_matched_and_not_counted_until_it_is_confirmed(path: str) -> None:
    with Library.open(path, create=True) as library:
        before = library.counts()
        question = Query.from_json({"dtcs": ["P0DE6-16@bms"], "read": ["bms"]})
        answer = library.find(question).to_json()
        number, _ = library.drafts.take(consultation())
        assert library.find(question).to_json() == answer
        assert library.counts() == {**before, "drafts": 1}
        assert library.cases.of_car(VIN) == []
        assert [draft.number for draft in library.drafts.of_car(VIN)] == [number]
        assert library.drafts.of_car("LHZEV4D0XRA000001") == []

        case = library.drafts.confirm(number)
        after = library.counts()
        assert (after["drafts"], after["jobs"], after["outcomes"]) == (0, before["jobs"] + 1, before["outcomes"] + 1)
        assert after["learnt_fixes"] == before["learnt_fixes"] + 1
        [visit] = library.cases.of_car(VIN)
        assert (visit["outcome"], visit["mileage_km"]) == ("fixed", 61_000)
        assert "均衡充电 → 压差仍在" in visit["note"]
        [exported] = library.cases.all()
        assert exported["vehicle"]["batch"] == "b7"
        assert any(dtc["ecu_role"] == "bms" for dtc in exported["dtcs"])
        assert case.outcome == "fixed"
        assert library.drafts.waiting() == []
        with pytest.raises(DraftUnknown):
            library.drafts.confirm(number)
        assert library.drafts.take(consultation()) == (number, False)
        assert library.drafts.waiting() == [], "what was confirmed does not come back"


def test_it_teaches_as_any_other_case(path: str) -> None:
    with Library.open(path, create=True) as library:
        fix = library.get_fix("weak-cell")
        number, _ = library.drafts.take(consultation())
        library.drafts.confirm(number, fix="weak-cell")
        assert library.outcomes()[fix.fix_id] == {"fixed": 1, "not-fixed": 0, "something-else": 0}
        assert library.cases.last_learnt == 1
        number, _ = library.drafts.take(consultation(id="room-2"))
        library.drafts.confirm(number, fix="weak-cell", outcome="not-fixed")
        assert library.outcomes()[fix.fix_id]["not-fixed"] == 1
        assert library.cases.last_learnt == 1, "only a cure teaches"


def test_a_simulated_one_teaches_nothing(path: str) -> None:
    with Library.open(path, create=True) as library:
        before = library.counts()
        number, _ = library.drafts.take(consultation(simulated=True))
        assert library.drafts.waiting()[0].simulated
        library.drafts.confirm(number, fix="weak-cell")
        after = library.counts()
        assert (after["jobs"], after["outcomes"], after["learnt_fixes"]) == (before["jobs"], 0, before["learnt_fixes"])
        assert after["simulated_jobs"] == 1
        assert (library.outcomes(), library.cases.last_learnt) == ({}, 0)


def test_a_simulated_scan_cannot_be_called_real(path: str) -> None:
    document = consultation(simulated=False)
    document["scan"]["simulated"] = True
    assert draft_from_json(document, lambda _: "key").simulated


def test_a_wrong_fix_leaves_the_draft(path: str) -> None:
    with Library.open(path, create=True) as library:
        number, _ = library.drafts.take(consultation())
        with pytest.raises(FixUnknown):
            library.drafts.confirm(number, fix="no-such-fix")
        assert [draft.number for draft in library.drafts.waiting()] == [number]
        assert library.counts()["jobs"] == 0
        changed = consultation(statement={"action": "x", "outcome": "unknown"})
        assert library.drafts.take(changed) == (number, False)
        assert library.drafts.waiting()[0].statement.outcome is None
        assert library.drafts.confirm(number).outcome is None
        number, _ = library.drafts.take(consultation(id="other"))
        library.drafts.drop(number)
        with pytest.raises(DraftUnknown):
            library.drafts.get(number)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"schema": "huizhen.scan/1"}, "schema"),
        ({"id": " "}, "id"),
        ({"scan": {"schema": "other"}}, "scan"),
        ({"scan": [1]}, "scan"),
        ({"statement": "fixed it"}, "statement"),
        ({"statement": {"action": 3}}, "statement.action"),
        ({"statement": {"lang": "fr"}}, "statement.lang"),
        ({"statement": {"outcome": "done"}}, "statement.outcome"),
        ({"tried": "x"}, "tried"),
        ({"tried": [{"result": "x"}]}, "tried"),
        ({"tried": ["x"] * 51}, "tried"),
        ({"closed": "soon"}, "closed"),
        ({"mileage_km": -1}, "mileage_km"),
        ({"symptom": {"a": 1}}, "symptom"),
        ({"scan": None, "symptom": "", "statement": None}, "line"),
    ],
)
def test_what_is_no_consultation_is_refused_by_its_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(BadEvidence) as found:
        draft_from_json(consultation(**change), lambda _: "key")
    assert found.value.key == key


def test_a_known_fix_that_says_the_same_is_found_in_both_languages() -> None:
    with Library.built_in() as library:
        fixes = list(library.own_fixes())

        def first(words: str) -> tuple[str, bool]:
            best = fixes_of_words(words, fixes, library.tokenizer)
            assert len(best) <= 3
            assert [one.likeness for one in best] == sorted((one.likeness for one in best), reverse=True)
            return best[0].fix.slug, best[0].is_close

        for fix in fixes[::7]:
            assert first(f"{fix.title.en}\n{fix.fix.en}") == (fix.slug, True)
            assert first(f"{fix.title.zh}\n{fix.fix.zh}") == (fix.slug, True)
        assert fixes_of_words("", fixes, library.tokenizer) == []
        assert not any(one.is_close for one in fixes_of_words("洗车 washed the windows", fixes, library.tokenizer))


# --- the command -----------------------------------------------------------------------------------------------------


def test_drafts_by_the_command(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Library.open(path, create=True) as library:
        known = library.get_fix("weak-cell")
    statement = {"lang": "zh", "component": known.title.zh, "action": known.fix.zh, "outcome": "fixed"}
    file = write(tmp_path, consultation(statement=statement))
    first = told(capsys, "add", "--draft", file, "--library", path)
    assert (first["draft"], first["new"], first["state"]) == (1, True, "waiting")
    assert first["suggestions"][0]["source_id"] == "weak-cell"
    assert first["suggestions"][0]["close"] is True
    assert told(capsys, "stats", "--library", path)["drafts"] == 1
    assert told(capsys, "history", VIN, "--library", path) == {
        "schema": "huizhen.history/1", "visits": [], "drafts": [1],
        "network": {"server": None, "asked": False, "error": None, "visits": []},
    }  # fmt: skip
    [row] = told(capsys, "add", "--drafts", "--library", path)["drafts"]
    assert row["draft"] == 1
    assert not any(name in json.dumps(row, ensure_ascii=False) for name in NAMES)
    for lang, words in (("en", ("draft 1", "The library knows this")), ("zh", ("草稿 1", "案例库中已有"))):
        assert main(["--lang", lang, "case", "add", "--drafts", "--library", path]) == Exit.DONE
        out = capsys.readouterr().out
        assert all(word in out for word in words)
        assert "--confirm 1 --fix weak-cell" in out
        for words_ in (["history", VIN], ["stats"]):
            assert main(["--lang", lang, "case", *words_, "--library", path]) == Exit.DONE
            assert ("drafts" if lang == "en" else "草稿") in capsys.readouterr().out
    done = told(capsys, "add", "--confirm", "1", "--fix", "weak-cell", "--note", "OK", "--library", path)
    assert (done["outcome"], done["new"]) == ("fixed", True)
    assert told(capsys, "history", VIN, "--library", path)["visits"][0]["note"].startswith("OK")
    assert main(["--lang", "en", "case", "add", "--confirm", "1", "--library", path]) == Exit.CASE_LIBRARY
    assert "no draft 1" in capsys.readouterr().err
    assert told(capsys, "add", "--draft", file, "--library", path)["state"] == "ended"
    told(capsys, "add", "--draft", write(tmp_path, consultation(id="b")), "--library", path)
    assert told(capsys, "add", "--drop", "2", "--library", path)["state"] == "dropped"
    assert told(capsys, "add", "--drafts", "--library", path)["drafts"] == []


def test_bad_files_are_told_in_a_line(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(b"{")
    for file, exit_code in (
        (str(tmp_path / "none.json"), Exit.USAGE),
        (str(bad), Exit.USAGE),
        (write(tmp_path, {"schema": SCHEMA}), Exit.USAGE),
        (write(tmp_path, [1]), Exit.USAGE),
    ):
        assert main(["case", "add", "--draft", file, "--library", path]) == exit_code
        assert len(capsys.readouterr().err.strip().splitlines()) <= 3
    with pytest.raises(SystemExit) as ended:
        main(["case", "add", "--drafts", "--drop", "1", "--library", path])
    assert ended.value.code == Exit.USAGE
