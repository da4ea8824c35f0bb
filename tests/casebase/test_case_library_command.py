"""``huizhen case import, export, add, close, history, calibration, backup, restore`` as they are typed."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from case_reports import weak_cell

from casebase.library import Library
from casebase.query import Query
from huizhen.cli import main
from huizhen.exits import Exit

REPOSITORY = Path(__file__).resolve().parents[2]
HEADING = "NHTSA ID,DOCUMENT NAME,MAKE,MODEL,MODEL YEAR,SUMMARY\n"
VIN = "LRW3E7EK0NC123456"


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("HUIZHEN_LANG", raising=False)
    return tmp_path / "data" / "huizhen" / "cases.db"


@pytest.fixture
def recalls(tmp_path: Path) -> str:
    path = tmp_path / "recalls.csv"
    path.write_text(
        HEADING + "24V100,a,FORD,F-150,2021,Rear axle bolt may break and cause a loss of drive power\n"
        "24V100,b,,F-150,2021,x\n24V200,c,FORD,F-150,2021,Rear camera image may be blank\n",
        "utf-8",
    )
    return str(path)


def job_of(own: Path) -> int:
    """A real job, as a scan opens it."""
    with Library.open(own, create=True) as library:
        query = Query.from_json({"dtcs": ["P0DE6-16@bms"], "symptom": "续航变短", "read": ["bms"]})
        return library.remember(query, library.find(query), vin=VIN)


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ["3 rows read, 2 taken, 2 new", "1 rows left out", "row 3: no make"]),
        ("zh", ["读取 3 行，采用 2 行，新增 2 条", "跳过 1 行", "第 3 行：缺少品牌"]),
    ],
)
def test_an_import_says_what_it_did(
    lang: str, words: list[str], recalls: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = str(tmp_path / "new.db")
    assert main(["--lang", lang, "case", "import", "nhtsa-recalls", recalls, "--library", library]) == Exit.DONE
    out = capsys.readouterr().out
    for word in words:
        assert word in out
    assert main(["--lang", "en", "case", "import", "nhtsa-recalls", recalls, "--library", library]) == Exit.DONE
    assert "imported before" in capsys.readouterr().out
    question = ["--make", "Ford", "--model", "F-150", "--year", "2021", "--symptom", "axle bolt broken, loss of drive"]
    assert main(["--lang", lang, "case", "find", *question, "--library", library]) == Exit.DONE
    shown = capsys.readouterr().out
    assert "24V100" in shown
    assert ("2 campaigns" if lang == "en" else "2 项") in shown
    assert main(["--lang", lang, "case", "show", "24V100", "--library", library]) == Exit.DONE
    assert "FORD" in capsys.readouterr().out


def test_an_import_as_json(recalls: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["case", "import", "nhtsa-recalls", recalls, "--json"]) == Exit.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "huizhen.import/1"
    assert (told["rows"], told["kept"], told["new"], told["left_out"]) == (3, 2, 2, 1)
    assert told["bad"] == [{"row": 3, "why": {"en": "no make", "zh": "缺少品牌"}}]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["import", "nhtsa-recalls", "no-such-file"], Exit.USAGE),
        (["import", "nhtsa-flat", "{recalls}"], Exit.USAGE),
        (["import", "sheet", "{recalls}"], Exit.USAGE),
        (["import", "something", "{recalls}"], Exit.USAGE),
        (["restore", "{recalls}"], Exit.CASE_LIBRARY),
        (["backup", "/no/such/folder/x.db"], Exit.CASE_LIBRARY),
        (["export", "/no/such/folder/x.jsonl"], Exit.USAGE),
        (["close", "77", "--outcome", "fixed"], Exit.CASE_LIBRARY),
        (["add"], Exit.USAGE),
        (["add", "--dtc", "P0AA6", "--fix", "no-such-fix"], Exit.CASE_LIBRARY),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], code: Exit, recalls: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended = main(["--lang", "en", "case", *(word.format(recalls=recalls) for word in words)])
    except SystemExit as error:
        ended = error.code
    assert ended == code
    assert "Traceback" not in (err := capsys.readouterr().err)
    assert err.strip()


def test_a_job_is_closed_by_one_answer_on_a_terminal(own: Path) -> None:
    job = job_of(own)
    master, slave = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-m", "huizhen", "--lang", "zh", "case", "close", str(job)],
        stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=REPOSITORY,
    )  # fmt: skip
    os.close(slave)
    os.write(master, b"hello\n1\n")
    out, err = process.communicate(timeout=120)
    os.close(master)
    assert process.returncode == 0, err.decode()
    assert "结果如何" in out.decode()
    assert "已关闭" in out.decode()
    with Library.open(own) as library:
        assert library.outcomes() == {
            library.get_fix("weak-cell").fix_id: {"fixed": 1, "not-fixed": 0, "something-else": 0}
        }


def test_nobody_to_ask_says_the_option(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(own)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["--lang", "en", "case", "close", str(job)]) == Exit.USAGE
    assert "--outcome" in capsys.readouterr().err


def test_history_and_calibration_in_both_languages(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_of(own)
    main(["case", "close", str(job), "--outcome", "not-fixed", "--fix", "weak-cell", "--note", "again"])
    capsys.readouterr()
    for lang, words in (("en", "not fixed"), ("zh", "未修复")):
        assert main(["--lang", lang, "case", "history", VIN]) == Exit.DONE
        assert words in capsys.readouterr().out
        assert main(["--lang", lang, "case", "calibration"]) == Exit.DONE
        out = capsys.readouterr().out
        assert "0 % (0/1" in out
        assert ("too few jobs" if lang == "en" else "样本不足") in out
    assert main(["case", "calibration", "--json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["closed"] == 1
    assert main(["--lang", "en", "case", "history", "W" * 17]) == Exit.DONE
    assert "no earlier case" in capsys.readouterr().out


def test_a_case_by_hand_goes_out_and_in_again(tmp_path: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "case",
        "add",
        "--symptom",
        "sunroof rattles",
        "--dtc",
        "B1999@body",
        "--make",
        "BYD",
        "--outcome",
        "fixed",
    ]
    did = ["--component", "sunroof", "--cause", "guide worn", "--action", "replace guide"]
    assert main([*words, *did]) == Exit.DONE
    assert main([*words, *did]) == Exit.DONE
    out = str(tmp_path / "cases.jsonl")
    assert main(["case", "export", out]) == Exit.DONE
    lines = [json.loads(line) for line in Path(out).read_text("utf-8").splitlines()]
    assert [line["fix"]["action"] for line in lines] == ["replace guide"]
    other = str(tmp_path / "other.db")
    assert main(["case", "import", "jsonl", out, "--library", other]) == Exit.DONE
    capsys.readouterr()
    assert main(["case", "export", "-", "--library", other]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["symptom"] == "sunroof rattles"


def test_a_table_goes_out_and_in_again(tmp_path: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["case", "add", "--symptom", "天窗，异响", "--dtc", "B1999-11@body", "--make", "BYD", "--outcome", "fixed"]
    assert main([*words, "--component", "sunroof", "--cause", "guide worn", "--action", "replace guide"]) == Exit.DONE
    assert main([*words, "--symptom", "another", "--fix", "weak-cell"]) == Exit.DONE
    table = str(tmp_path / "cases.csv")
    assert main(["case", "export", table]) == Exit.DONE
    other = str(tmp_path / "other.db")
    assert main(["case", "import", "sheet", table, "--library", other]) == Exit.DONE
    capsys.readouterr()
    with Library.open(other) as library:
        stored = list(library.cases.all())
    assert [case["symptom"] for case in stored] == ["天窗，异响", "another"]
    assert [case["dtcs"] for case in stored] == [["B1999-11"], ["B1999-11"]]
    assert (stored[0]["fix"]["action"], stored[1]["fix"]) == ("replace guide", "weak-cell")


def test_backup_and_restore(tmp_path: Path, own: Path) -> None:
    job_of(own)
    copy = str(tmp_path / "copy.db")
    assert main(["case", "backup", copy]) == Exit.DONE
    job_of(own)
    assert main(["case", "restore", copy]) == Exit.DONE
    with Library.open(own) as library:
        assert library.counts()["jobs"] == 1
    assert not list(tmp_path.glob(".*part"))


def test_a_saved_scan_becomes_a_case(tmp_path: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = {**weak_cell().to_json(), "simulated": False}
    path = tmp_path / "scan.json"
    path.write_text(json.dumps(scan, ensure_ascii=False), "utf-8")
    assert main(["case", "add", str(path), "--fix", "weak-cell", "--outcome", "fixed"]) == Exit.DONE
    with Library.open(own) as library:
        assert library.find(Query.from_report(weak_cell())).matches[0].success.worked == 1
    capsys.readouterr()
