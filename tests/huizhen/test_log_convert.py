"""``huizhen log convert`` and what ``log info`` tells of a recording's content, as a person runs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from huizhen.cli import main

if TYPE_CHECKING:
    from pathlib import Path

LOG = "(1700000000.100000) can0 123#0102\nnoise\n(1700000000.200000) can1 18DAF110#FF\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "drive.txt"
    path.write_text(LOG)
    return path


@pytest.mark.parametrize("ending", ["log", "asc", "blf", "mf4", "csv", "parquet"])
def test_there_and_back_by_the_ending(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is optional")
    target, back = tmp_path / f"x.{ending}", tmp_path / "back.log"
    assert main(["log", "convert", str(log), str(target), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["schema"], facts["from"], facts["frames"], facts["bad_lines"]) == (
        "huizhen.convert/1",
        "candump",
        2,
        1,
    )
    assert bool(facts["losses"]) == (ending in {"asc", "blf", "mf4"})
    assert main(["log", "convert", str(target), str(back)]) == 0
    lines = [line.split() for line in back.read_text().splitlines()]
    assert [(line[0], line[2]) for line in lines] == [
        ("(1700000000.100000)", "123#0102"),
        ("(1700000000.200000)", "18DAF110#FF"),
    ]


def test_what_is_lost_and_what_was_bad_is_said(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "convert", str(log), str(tmp_path / "x"), "--to", "blf", "--lang", "en"]) == 0
    said = capsys.readouterr()
    assert "2 frames, candump to blf" in said.out
    assert "not kept by this format: names of buses become numbers" in said.err
    assert "line 2: not a candump line" in said.err


def test_bad_endings_and_folders_are_usage_errors(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", "convert", str(log), str(tmp_path / "x.xyz"), "--lang", "en"]) == 2
    assert "must end in one of .log" in capsys.readouterr().err
    assert main(["log", "convert", str(log), str(tmp_path / "no" / "x.log"), "--lang", "zh"]) == 2
    assert "没有文件夹" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive.txt"]


def test_info_tells_segments_and_that_there_is_no_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    glued = tmp_path / "glued.log"
    glued.write_text("(100.0) can0 001#\n(5.0) can0 002#\n")
    assert main(["log", "info", str(glued), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["segments"] == [1]
    assert "several captures" in facts["notes"][0]["en"]
    untimed = tmp_path / "ids.csv"
    untimed.write_text("ID,Data Bytes\n0000021A,FE 36\n")
    assert main(["log", "info", str(untimed), "--lang", "zh"]) == 0
    said = capsys.readouterr()
    assert "没有时间" in said.err
    assert "时间范围" not in said.out
