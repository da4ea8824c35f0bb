"""``huizhen case`` as it is typed: results on standard output, one clear line and the right exit code otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from case_reports import healthy, weak_cell

from huizhen.cli import build_parser, command_module, main
from huizhen.console import standard
from huizhen.exits import Exit
from huizhen.language import Translator

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("HUIZHEN_LANG", raising=False)
    return tmp_path / "data" / "huizhen" / "cases.db"


@pytest.fixture
def scan(tmp_path: Path) -> str:
    path = tmp_path / "scan.json"
    path.write_text(json.dumps(weak_cell().to_json(), ensure_ascii=False), "utf-8")
    return str(path)


def test_find_in_a_saved_scan(scan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["case", "find", scan, "--json"]) == Exit.DONE
    out = json.loads(capsys.readouterr().out)
    assert out["schema"] == "huizhen.cases/1"
    assert out["matches"][0]["source_id"] == "weak-cell"
    assert out["simulated"] is True


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ["One weak cell", "P0DE6-16 in the battery management (BMS)", "HIGH VOLTAGE WORK", "simulated car"]),
        ("zh", ["单体衰减", "电池管理系统（BMS）0x7EC 故障码 P0DE6-16", "高压作业", "模拟车辆"]),
    ],
)
def test_people_read_it_in_their_language(
    lang: str, words: list[str], scan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--lang", lang, "case", "find", scan]) == Exit.DONE
    out = capsys.readouterr().out
    for word in words:
        assert word in out


def test_high_voltage_steps_stand_before_the_details(scan: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--lang", "en", "case", "show", "weak-cell"])
    out = capsys.readouterr().out
    assert out.index("stays live, always") < out.index("Steps") < out.index("Proof of repair")


def test_options_ask_too(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["case", "find", "--dtc", "U0111-87@vcu", "--dtc", "U0111-87@obc", "--symptom", "无法上电", "--json"]
    assert main([*words, "--make", "BYD", "--year", "2024"]) == Exit.DONE
    out = json.loads(capsys.readouterr().out)
    assert out["matches"][0]["source_id"] == "bms-communication-lost"


def test_a_healthy_scan_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "healthy.json"
    path.write_text(json.dumps(healthy().to_json()), "utf-8")
    assert main(["--lang", "en", "case", "find", str(path)]) == Exit.DONE
    assert "No evidence of a fault" in capsys.readouterr().out


def test_lines_in_lines_out(own_library: Path) -> None:
    lines = [
        '{"dtcs": ["P0AA6-1A"], "read": ["bms"], "colour": "red"}',
        "rubbish",
        "",
        '{"dtcs": [{"code": 5}]}',
        '{"symptom": "续航"}',
        "{}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "huizhen", "--lang", "zh", "case", "find", "--jsonl"],
        input="\n".join(lines).encode(),
        capture_output=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUTF8": "1"},
        check=False,
        timeout=120,
    )
    assert done.returncode == Exit.DONE, done.stderr.decode()
    out = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [line["verdict"] for line in out] == ["test", None, None, None, "test", "none"]
    assert [line["error"]["line"] for line in out if line["error"]] == [2, 3, 4]
    assert all(line["schema"] == "huizhen.cases/1" for line in out)


@pytest.mark.parametrize(
    ("words", "exit_", "sentence"),
    [
        (["case", "stats", "--library", "no-such.db"], Exit.CASE_LIBRARY, "no case library at"),
        (["case", "stats", "--library", __file__], Exit.CASE_LIBRARY, "is not a case library"),
        (["case", "show", "no-such-fix"], Exit.CASE_LIBRARY, "has no fix"),
        (["case", "find"], Exit.USAGE, "nothing to look up"),
        (["case"], Exit.USAGE, "say what to do"),
        (["case", "find", "no-such-scan.json"], Exit.USAGE, "cannot read"),
        (["case", "find", __file__], Exit.USAGE, "is not the JSON of a scan"),
        (["case", "find", "--dtc", "hello"], Exit.USAGE, "is not a code"),
    ],
)
def test_bad_input_gives_one_clear_line(
    words: list[str], exit_: Exit, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--lang", "en", *words]) == exit_
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


def test_a_damaged_library_gives_one_clear_line(own_library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["case", "stats", "--json"]) == Exit.DONE
    counts = json.loads(capsys.readouterr().out)
    assert counts["fixes"] >= 20
    assert len(counts["list"]) == counts["fixes"]
    own_library.write_bytes(own_library.read_bytes()[:40_000])
    for words in (["case", "stats"], ["case", "find", "--symptom", "续航"]):
        assert main(["--lang", "zh", *words]) == Exit.CASE_LIBRARY
        captured = capsys.readouterr()
        assert "已损坏" in captured.err
        assert captured.err.count("\n") == 1


def test_show_gives_the_whole_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["case", "show", "sampling-line", "--json"]) == Exit.DONE
    out = json.loads(capsys.readouterr().out)
    assert out["schema"] == "huizhen.fix/1"
    assert out["source_id"] == "sampling-line"
    assert len(out["steps"]) >= 2
    assert out["safety_steps"]


def test_every_fix_shows_in_both_languages(capsys: pytest.CaptureFixture[str]) -> None:
    main(["case", "stats", "--json"])
    entries = json.loads(capsys.readouterr().out)["list"]
    assert len(entries) > 180
    for lang in ("zh", "en"):
        tr = Translator(lang)
        parser = build_parser(tr)  # once, and not for every fix
        for entry in entries:
            args = parser.parse_args(["case", "show", entry["case_id"]])
            assert command_module("case").run(args, standard(tr)) == Exit.DONE
            assert entry["title"][lang] in capsys.readouterr().out


def test_high_voltage_steps_stand_before_the_instruction(scan: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--lang", "en", "case", "find", scan])
    out = capsys.readouterr().out
    assert 0 < out.index("HIGH VOLTAGE WORK") < out.index("   → ")


def test_an_insulation_test_that_switches_the_car_on_carries_the_high_voltage_steps() -> None:
    from casebase.library import Library

    with Library.open(None) as library:
        test = library.get_test("insulation-contactors-open")
    assert test.safety.value == "hv-nearby"
    assert test.how.en.startswith("Begin with high voltage off")


@pytest.mark.parametrize("content", ["{}", '{"schema": "x"}', '{"schema": 1}', '{"dtcs": ["P0AA6"]}'])
def test_an_object_that_is_no_scan_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, "utf-8")
    assert main(["--lang", "en", "case", "find", str(path)]) == Exit.USAGE
    assert "is not a scan" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "exit_"), [("P0AA6@foo", 2), ("P0AA6@0x7EC", 0), ("P0AA6@OBC", 0), ("P0AA6", 0)])
def test_an_ecu_that_there_is_not_is_said(code: str, exit_: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["case", "find", "--dtc", code, "--lang", "zh"]) == exit_
    if exit_:
        assert "foo" in capsys.readouterr().err
