"""``huizhen log``: the contract's keys, human tables in both languages, one line for each failure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dbc.files import EV400
from huizhen.cli import main

if TYPE_CHECKING:
    from pathlib import Path

LOG = "".join(f"({1_700_000_000 + n}.{n:06d}) can0 180#{3800 + n:04X}2027F4010000\n" for n in range(5))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "drive.log"
    path.write_text(LOG + "(1700000009.000000) can1 7FF#00\nnoise\n")
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["--lang", "en", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_info_json_has_the_contracts_keys(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "log", "info", recording, "--json")
    info = json.loads(out)
    assert code == 0
    assert info["schema"] == "huizhen.log/1"
    assert info["format"] == "candump"
    assert (info["frames"], info["ids"], info["channels"], info["bad_lines"]) == (6, 2, 2, 1)
    assert (info["first_s"], info["last_s"]) == (1_700_000_000.0, 1_700_000_009.0)
    assert info["bad"][0]["line"] == 7
    assert info["id_list"] == ["0x180", "0x7FF"]


def test_info_speaks_both_languages(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = run(capsys, "log", "info", recording)
    assert "identifiers" in out
    assert "line 7: not a candump line" in err
    assert "1970" not in out
    assert main(["--lang", "zh", "log", "info", str(recording)]) == 0
    out, err = capsys.readouterr()
    assert "标识符" in out
    assert "第 7 行：不是 candump 报文行" in err


def test_decode_summary_json(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "log", "decode", recording, "--dbc", EV400, "--summary", "--json")
    summary = json.loads(out)
    assert code == 0
    assert (summary["frames"], summary["decoded_frames"]) == (6, 5)
    assert summary["unknown_ids"] == ["0x7FF"]
    charge = summary["messages"]["BMS_Pack"]["signals"]["StateOfCharge"]
    assert (charge["n"], charge["mean"], charge["unit"], charge["invalid"]) == (5, 50.0, "%", 0)


def test_the_recording_may_stand_last(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "log", "decode", "--dbc", EV400, recording)
    assert code == 0
    assert "StateOfCharge" in out
    assert "5 of 6 frames decoded" in out


def test_decode_writes_the_asked_for_signals(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.csv"
    words = (
        "log",
        "decode",
        recording,
        "--dbc",
        EV400,
        "-o",
        target,
        "--signals",
        "StateOfCharge,BMS_Pack.PackCurrent",
    )
    code, out, _ = run(capsys, *words)
    lines = target.read_text(encoding="utf-8").splitlines()
    assert code == 0
    assert len(lines) == 1 + 2 * 5
    assert "written" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["log", "info", "{dir}/no.log"], "cannot read"),
        (["log", "info", "{dir}/picture.png"], "is not a recording"),
        (["log", "decode", "{log}", "--dbc", "{dir}/picture.png"], "is not a CAN database"),
        (["log", "decode", "{log}", "--dbc", "{dir}/no.dbc"], "cannot read"),
        (["log", "decode", "{log}", "--dbc", "{dir}/broken.dbc"], "broken.dbc, line 2"),
        (["log", "decode", "{log}"], "--dbc"),
        (["log", "decode", "{log}", "--dbc", "{dbc}", "--signals", "StateOfCharg"], "perhaps StateOfCharge"),
        (["log", "decode", "{log}", "--dbc", "{dbc}", "-o", "{dir}/out.doc"], "must end in"),
        (["log"], "info, convert, decode or record"),
    ],
)
def test_failures_are_one_line_and_exit_2(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)))
    (tmp_path / "broken.dbc").write_text('VERSION ""\nBO_ 1 M 8\n')
    before = sorted(tmp_path.iterdir())
    code, out, err = run(capsys, *(word.format(dir=tmp_path, log=recording, dbc=EV400) for word in words))
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


def test_real_kona_recording(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    css = shared / "data/css"
    words = ("log", "decode", css / "kona_uds.mf4", "--dbc", css / "tp_uds.dbc", "--summary", "--json")
    _, out, _ = run(capsys, *words)
    battery = json.loads(out)["messages"]["Battery"]
    assert battery["source"] == "isotp+length"
    charge = battery["signals"]["M_SID_0x220101_StateOfChargeBMS"]
    assert (charge["n"], charge["min"], charge["max"], charge["unit"]) == (120, 50.0, 50.0, "%")


def test_a_folder_gets_a_parquet_file_per_message(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    log, dbc = shared / "data/css/j1939_truck.mf4", shared / "data/css/j1939_demo.dbc"
    out = tmp_path / "decoded"
    assert main(["log", "decode", str(log), "--dbc", str(dbc), "-o", f"{out}/", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema"] == "huizhen.decoded-files/1"
    assert all(path.startswith(f"{out}/") for path in facts["files"].values())
    table = parquet.read_table(facts["files"]["EEC1"])
    speeds = [value for value in table["EngineSpeed"].to_pylist() if value is not None]
    assert 640 < min(speeds) <= max(speeds) < 660
    assert main(["log", "decode", str(log), "--dbc", str(dbc), "-o", f"{out}/"]) == 2, "the folder is there already"
    assert len(capsys.readouterr().err.splitlines()) == 1
    candump = tmp_path / "a.log"
    assert main(["log", "convert", str(log), str(candump)]) == 0
    assert main(["log", "decode", str(candump), "--dbc", str(dbc), "-o", f"{tmp_path}/streamed/"]) == 0
    again = parquet.read_table(tmp_path / "streamed" / "EEC1.parquet")
    assert again["EngineSpeed"].to_pylist() == table["EngineSpeed"].to_pylist()
