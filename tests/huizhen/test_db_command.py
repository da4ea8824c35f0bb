"""``huizhen db``: the contract's keys, tables in both languages, exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dbc.catalogue import user_folder
from huizhen.cli import main

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = (
    'VERSION ""\nBU_ VCU\nBO_ 256 2017_5: 8 VCU\n SG_ 总电压 : 0|16@1+ (0.1,0) [0|1000] "V" VCU\nVAL_ 999 Ghost 0 "a" ;'
)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "car.dbc"
    path.write_bytes(BROKEN.encode("gb18030"))
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object, lang: str = "en") -> tuple[int, str, str]:
    code = main(["--lang", lang, *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_lint_json_has_the_contracts_keys(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "db", "lint", broken, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts["schema"] == "huizhen.lint/1"
    assert {key: facts[key] for key in ("file", "loaded", "encoding", "messages", "signals")} == {
        "file": str(broken),
        "loaded": True,
        "encoding": "gb18030",
        "messages": 1,
        "signals": 1,
    }
    assert [(issue["line"], issue["code"], issue["repaired"]) for issue in facts["issues"]] == [
        (2, "bu-block", True),
        (3, "name", True),
        (4, "name", True),
        (5, "no-final-newline", True),
        (5, "undefined-message", True),
    ]
    assert all(issue["text"]["en"] and issue["text"]["zh"] for issue in facts["issues"])


def test_lint_refuses_with_the_line_and_goes_on(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = tmp_path / "worse.dbc"
    worse.write_text('VERSION ""\nBO_ 1 M 8\n')
    code, out, _ = run(capsys, "db", "lint", worse, tmp_path / "none.dbc", broken, "--jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 2
    assert [line["loaded"] for line in lines] == [False, False, True]
    assert [(issue["line"], issue["code"]) for issue in lines[0]["issues"]] == [(2, "dbc.database-broken")]
    assert lines[1]["issues"][0]["code"] == "dbc.file-missing"


@pytest.mark.parametrize(("lang", "word"), [("en", "mended"), ("zh", "已修复")])
def test_lint_of_a_folder_is_a_table(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str, word: str
) -> None:
    (tmp_path / "good.dbc").write_text('BO_ 1 M: 8 X\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\n')
    code, out, _ = run(capsys, "db", "lint", tmp_path, lang=lang)
    assert code == 0
    assert word in out
    assert "undefined-message" in out
    assert str(broken) in out


def test_list_names_origin_and_licence(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = user_folder()
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / "tesla_own.dbc"
    own.write_bytes(broken.read_bytes())
    code, out, _ = run(capsys, "db", "list", "--json")
    listed = {entry["name"]: entry for entry in json.loads(out)["databases"]}
    assert code == 0
    assert listed["huizhen_ev400"]["licence"] == "Apache-2.0"
    assert listed["tesla_own"]["origin"] == "user"
    assert listed["tesla_own"]["licence"] is None
    _, out, _ = run(capsys, "db", "list", "--vin", "5YJ3E1EA7KF317000")
    assert "tesla_own" in out
    assert "huizhen_ev400" not in out
    own.unlink()


def test_show_gives_messages_and_signals(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "db", "show", "huizhen_ev400")
    assert code == 0
    assert "BMS_Pack" in out
    assert "Apache-2.0" in out
    for named in ("BMS_Pack", "bms_pack", "0x180", "384"):
        code, out, _ = run(capsys, "db", "show", "huizhen_ev400", named)
        assert code == 0
        assert "PackVoltage" in out
        assert "65535=SNA" in out
    _, out, _ = run(capsys, "db", "show", "huizhen_ev400", "BMS_Pack", "--json")
    facts = json.loads(out)
    assert facts["schema"] == "huizhen.database/1"
    (message,) = facts["messages"]
    assert (message["id"], message["length"]) == ("0x180", 8)
    signal = message["signals"][0]
    assert (signal["name"], signal["unit"], signal["labels"]) == ("PackVoltage", "V", {"65535": "SNA"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["db"], "list, show, lint or match"),
        (["db", "show", "huizhen_ev40"], "perhaps huizhen_ev400"),
        (["db", "show", "huizhen_ev400", "BMS_Pac"], "BMS_Pack"),
        (["db", "list", "--vin", "ZZZ00000000000000"], "--make"),
    ],
)
def test_failures_are_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
