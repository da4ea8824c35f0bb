"""``huizhen db match``: the contract's JSON, the table in both languages, and bad input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from huizhen.cli import main
from huizhen.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path


def test_the_json_of_the_contract(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("opendbc")
    assert main(["db", "match", str(shared / "data/savvycan/GVRET_Log.csv"), "--json"]) == Exit.DONE
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema"] == "huizhen.match/1"
    assert facts["best"] == "tesla_powertrain"
    first = facts["candidates"][0]
    assert {"database", "probability", "because"} <= set(first)
    assert first["probability"] + facts["none"] <= 1.0001
    assert all(reason["en"] and reason["zh"] for reason in first["because"])


@pytest.mark.parametrize(("lang", "words"), [("en", "none of them is likely enough"), ("zh", "没有足够可能的数据库")])
def test_none_is_said(shared: Path, capsys: pytest.CaptureFixture[str], lang: str, words: str) -> None:
    folder = shared / "data/savvycan"
    databases = [str(path) for path in sorted(folder.glob("*.dbc"))]
    assert main(["db", "match", str(folder / "candump.log"), *databases, "--lang", lang]) == Exit.DONE
    assert words in capsys.readouterr().out


def test_what_is_no_recording_or_no_database_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("dear sirs\n")
    log = tmp_path / "a.log"
    log.write_text("(1.0) can0 123#0011\n")
    assert main(["db", "match", str(text)]) == Exit.USAGE
    assert main(["db", "match", str(log), str(text)]) == Exit.USAGE
    assert main(["db", "match", str(tmp_path / "nothing.log")]) == Exit.USAGE
    assert main(["db", "match", str(log), "no_such_database"]) == Exit.USAGE
    assert len(capsys.readouterr().err.splitlines()) == 4
