"""Decoded values in files: every sample, whole files or none."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

from dbc.database import load
from dbc.decoding import Decoded, decode_table
from dbc.errors import LibraryMissing, OutputError
from dbc.files import EV400
from dbc.output import write_decoded
from dbc.summary import summary_from_decoded
from dbc.table import FrameRow, FrameTable

if TYPE_CHECKING:
    from pathlib import Path

T0 = 1_700_000_000_123_456_789


def decoded() -> Decoded:
    rows = [
        FrameRow(T0 + 2, 0x100, bytes.fromhex("1027 00 1B 00 00 0000")),
        FrameRow(T0, 0x180, bytes.fromhex("100F 2027 F401 00 00")),
        FrameRow(T0 + 1, 0x180, b"\xff" * 8, 0, 1),
    ]
    return decode_table(FrameTable.from_rows(rows), [load(EV400)])


def test_csv_has_every_sample_in_time(tmp_path: Path) -> None:
    write_decoded(decoded(), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["t_s"] for line in lines] == sorted(line["t_s"] for line in lines)
    pack = [line for line in lines if line["signal"] == "PackVoltage"]
    assert [(line["t_s"], line["value"], line["unit"], line["raw"], line["text"]) for line in pack] == [
        ("1700000000.123456789", repr(0x0F10 * 0.1), "V", str(0x0F10), ""),
        ("1700000000.123456790", "", "V", "65535", "SNA"),
    ]
    assert {(line["id"], line["channel"]) for line in lines} == {("0x180", "0"), ("0x180", "1"), ("0x100", "0")}


def test_json_lines_have_one_frame_each(tmp_path: Path) -> None:
    write_decoded(decoded(), tmp_path / "out.jsonl")
    frames = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [frame["t_ns"] for frame in frames] == [T0, T0 + 1, T0 + 2]
    assert {frame["schema"] for frame in frames} == {"huizhen.frame/1"}
    assert frames[0]["raw"] == "100F2027F4010000"
    assert frames[0]["signals"]["StateOfCharge"] == {"value": 50.0, "unit": "%", "raw": 500}
    assert frames[1]["signals"]["StateOfCharge"] == {"value": None, "unit": "%", "raw": 1023, "text": "SNA"}


def test_summary_counts_values_and_missing_ones() -> None:
    summary = summary_from_decoded(decoded())
    assert summary["schema"] == "huizhen.decode/1"
    assert (summary["frames"], summary["decoded_frames"], summary["unknown_ids"]) == (3, 3, [])
    pack = summary["messages"]["BMS_Pack"]
    assert (pack["frames"], pack["source"]) == (2, "frame")
    assert pack["signals"]["StateOfCharge"] == {
        "n": 1,
        "min": 50.0,
        "max": 50.0,
        "mean": 50.0,
        "first": 50.0,
        "last": 50.0,
        "unit": "%",
        "invalid": 1,
        "out_of_range": 0,
    }
    json.dumps(summary, allow_nan=False)


def test_first_and_last_follow_time_not_the_file() -> None:
    rows = [
        FrameRow(5, 0x180, bytes.fromhex("0A00000000000000")),
        FrameRow(1, 0x180, bytes.fromhex("1400000000000000")),
    ]
    summary = summary_from_decoded(decode_table(FrameTable.from_rows(rows), [load(EV400)]))
    voltage = summary["messages"]["BMS_Pack"]["signals"]["PackVoltage"]
    assert (voltage["first"], voltage["last"]) == (2.0, 1.0)


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.csv"
    target.write_text("before")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(write_decoded.__globals__["_TEXT"], ".csv", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_decoded(decoded(), target)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_bad_places_are_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="must end in"):
        write_decoded(decoded(), tmp_path / "out.xls")
    with pytest.raises(OutputError, match="no folder"):
        write_decoded(decoded(), tmp_path / "no" / "out.csv")


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbc.output.find_spec", lambda name: None)
    with pytest.raises(LibraryMissing, match="pip install pyarrow"):
        write_decoded(decoded(), tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


def test_parquet_has_every_sample(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is optional")
    write_decoded(decoded(), tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    voltages = [row["value"] for row in table if row["signal"] == "PackVoltage"]
    assert voltages == [0x0F10 * 0.1, None]
