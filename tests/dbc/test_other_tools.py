"""What we write opens in other people's tools, and says there what it says here."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dbc.database import load
from dbc.decoding import decode_table
from dbc.files import EV400
from dbc.recording import open_recording
from dbc.streaming import decode_to_folder
from huizhen.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import dbc

SIGNALS = ("PackVoltage", "PackCurrent", "StateOfCharge", "MotorSpeed", "InsulationResistance")


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds of the simulated sedan, as candump."""
    path = tmp_path_factory.mktemp("drive") / "drive.log"
    assert main(["sim", "record", "--scenario", "weak-cell", "--duration", "20", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def decoded(drive: Path) -> dbc.Decoded:
    return decode_table(open_recording(drive).table, [load(EV400)])


def converted(drive: Path, name: str) -> Path:
    path = drive.with_name(name)
    assert main(["log", "convert", str(drive), str(path)]) == 0
    return path


def test_asammdf_makes_the_same_signals_of_our_mf4(drive: Path, decoded: dbc.Decoded) -> None:
    asammdf = pytest.importorskip("asammdf")
    with asammdf.MDF(converted(drive, "drive.mf4")) as frames:
        signals = frames.extract_bus_logging({"CAN": [(str(EV400), 0)]})
    try:
        for name in SIGNALS:
            theirs, ours = signals.get(name), decoded[name]
            assert len(theirs.samples) == len(ours) > 100, name
            good = ours.valid
            np.testing.assert_allclose(np.asarray(theirs.samples, float)[good], ours.values[good], atol=1e-9)
            assert theirs.unit == ours.signal.unit
            steps = np.diff(theirs.timestamps) - np.diff(ours.t_ns) / 1e9
            assert np.abs(steps).max() < 1e-6
    finally:
        signals.close()


def test_pandas_opens_the_parquet_of_values(drive: Path, decoded: dbc.Decoded, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "drive.parquet"
    assert main(["log", "decode", str(drive), "--dbc", str(EV400), "-o", str(path)]) == 0
    samples = pandas.read_parquet(path)
    assert list(samples.columns) == ["t_ns", "message", "signal", "value", "unit"]
    for name in SIGNALS:
        one = samples[samples["signal"] == name]
        np.testing.assert_array_equal(one["value"].to_numpy(), decoded[name].values)
        np.testing.assert_array_equal(one["t_ns"].to_numpy(), decoded[name].t_ns)
        assert set(one["unit"]) == {decoded[name].signal.unit}


def test_pandas_and_polars_open_a_folder_of_messages(drive: Path, decoded: dbc.Decoded, tmp_path: Path) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    files = decode_to_folder(drive, [load(EV400)], tmp_path / "OUT").files
    pack, same = pandas.read_parquet(files["BMS_Pack"]), polars.read_parquet(files["BMS_Pack"])
    np.testing.assert_allclose(pack["PackVoltage"].to_numpy(float), decoded["PackVoltage"].values)
    assert same["PackVoltage"].to_list() == pack["PackVoltage"].to_list()
    assert len(files) == len(decoded.messages)


def test_pandas_opens_the_csv_of_values(drive: Path, decoded: dbc.Decoded, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "drive.csv"
    assert (
        main(["log", "decode", str(drive), "--dbc", str(EV400), "--signals", ",".join(SIGNALS), "-o", str(path)]) == 0
    )
    samples = pandas.read_csv(path)  # before pandas 3 its last binary digit may differ
    for name in SIGNALS:
        values = samples[samples["signal"] == name]["value"].to_numpy()
        np.testing.assert_allclose(values, decoded[name].values, rtol=1e-15)


def test_pandas_and_polars_open_the_parquet_of_frames(drive: Path) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    path = converted(drive, "drive.parquet")
    table = open_recording(drive).table
    for frames in (pandas.read_parquet(path), polars.read_parquet(path)):
        assert len(frames) == len(table)
        assert list(frames["can_id"]) == table.can_id.tolist()
        assert bytes(frames["data"][0]) == table.data[0, : int(table.length[0])].tobytes()


CANDUMP_OF_SAVVYCAN = re.compile(r"^\(([^)]+)\)\s(\S+)\s([0-9A-Fa-f]+)#(R?)([0-9A-Fa-f]*)")
"""How SavvyCAN's loader of candump files takes a line apart: time, bus, identifier (more than three digits: extended),
``R`` for a remote frame, pairs of digits. Standard: unverified (its source, framefileio)."""


def test_a_reader_like_savvycan_s_takes_every_line_of_our_candump(drive: Path) -> None:
    path = converted(drive, "again.log")
    table = open_recording(drive).table
    lines = path.read_text(encoding="ascii").splitlines()
    assert len(lines) == len(table)
    for line, row in zip(lines, table.rows(), strict=True):
        found = CANDUMP_OF_SAVVYCAN.match(line)
        assert found is not None, line
        assert round(float(found[1]) * 1e6) == row.t_ns // 1000
        assert (int(found[3], 16), len(found[3]) > 3) == (row.can_id, bool(row.flags & 1))
        assert bytes.fromhex(found[5]) == row.data


def test_can_utils_read_our_candump(drive: Path) -> None:
    tool = shutil.which("log2asc")
    if tool is None:
        pytest.skip("needs can-utils (log2asc)")
    path = converted(drive, "utils.log")
    bus = path.read_text(encoding="ascii").split()[1]
    done = subprocess.run([tool, "-I", str(path), bus], capture_output=True, text=True, check=True)
    asc = drive.with_name("utils.asc")
    asc.write_text(done.stdout, encoding="ascii")
    table, again = open_recording(drive).table, open_recording(asc).table
    np.testing.assert_array_equal(again.can_id, table.can_id)
    np.testing.assert_array_equal(again.data, table.data)
