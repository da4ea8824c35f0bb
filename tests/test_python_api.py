"""``import diag, dbc, casebase``: light, typed, and what the guide and the examples say is what happens."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import casebase
import dbc
import diag
import virtualbus
from casebase.library import Library
from casebase.query import Query
from dbc.database import load_bytes
from dbc.table import FrameRow, FrameTable
from diag.facts import Dtc, DtcKind
from diag.frames import Frame
from diag.readings import parse_wanted
from diag.vehiclereport import LinkInfo, Vehicle
from virtualbus.car import Car
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
HEAVY = ("can", "cantools", "numpy", "asyncio", "sqlite_utils", "isotp", "pandas", "polars", "aiohttp")
DATABASE = b"""VERSION ""
BU_: A
BO_ 256 Fast: 8 A
 SG_ Speed : 0|8@1+ (0.5,0) [0|100] "km/h" A
 SG_ Shared : 8|8@1+ (1,0) [0|255] "" A
BO_ 512 Slow: 8 A
 SG_ Heat : 0|8@1+ (1,-40) [-40|200] "degC" A
 SG_ Shared : 8|8@1+ (1,0) [0|255] "" A
VAL_ 512 Heat 255 "SNA" ;
"""
FRAMES = FrameTable.from_rows(
    [
        FrameRow(1_000_000_000, 256, bytes([10, 1, 0, 0, 0, 0, 0, 0])),
        FrameRow(1_500_000_000, 512, bytes([60, 2, 0, 0, 0, 0, 0, 0])),
        FrameRow(2_000_000_000, 256, bytes([20, 3, 0, 0, 0, 0, 0, 0])),
        FrameRow(2_500_000_000, 512, bytes([255, 4, 0, 0, 0, 0, 0, 0])),
        FrameRow(2_500_000_000, 256, bytes([30, 5, 0, 0, 0, 0, 0, 0])),
        FrameRow(2_600_000_000, 0x777, b"\x01"),
    ]
)


@pytest.fixture
def decoded() -> dbc.Decoded:
    return dbc.decode(FRAMES, load_bytes(DATABASE, "small.dbc"))


def test_importing_costs_nothing() -> None:
    code = f"import sys\nimport diag, dbc, casebase\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", [diag, dbc, casebase], ids=lambda package: package.__name__)
def test_type_checkers_see_what_is_loaded(package) -> None:
    """The names under TYPE_CHECKING, those in __all__ and those that are loaded are the same things."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    told = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }
    assert sorted(told) == sorted(package.__all__)
    assert told == package._HOME
    for name, module in told.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)
        assert name in dir(package)
        assert inspect.getdoc(getattr(package, name)), name
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name


@pytest.mark.parametrize(
    ("name", "telling"),
    [
        ("scan_car.py", ("simulated: True", "P0DE6-16", "weakest cell: ", "tractionBatteryCharge")),
        ("decode_recording.py", ("VCU_Status.VehicleSpeed", "mean power ", "PackCurrent")),
        ("match_cases.py", ("direct", "0.", "because ")),
    ],
)
def test_the_examples_run_as_a_user_runs_them(name: str, telling: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [word for word in telling if word not in done.stdout] == [], done.stdout


@pytest.mark.parametrize("page", ["python.md", "zh/python.md"])
def test_every_example_is_run_and_named_in_the_guide(page: str) -> None:
    guide = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert len(EXAMPLES) == 3
    assert [path.name for path in EXAMPLES if path.name not in guide] == []


async def test_the_blocks_of_the_guide_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a notebook runs its cells, with ``await`` at the top. Those of the Chinese guide are the same code."""
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("pandas", reason="the guide shows pandas")
    pytest.importorskip("polars", reason="the guide shows polars")
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    chinese = (ROOT / "docs" / "zh" / "python.md").read_text(encoding="utf-8")
    same = re.findall(r"^```python\n(.*?)^```", chinese, re.MULTILINE | re.DOTALL)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    assert [ast.dump(compile(block, "zh", "exec", flags=flags)) for block in same] == [
        ast.dump(compile(block, "en", "exec", flags=flags)) for block in blocks
    ]
    cells: dict[str, object] = {}
    for block in blocks:
        code = compile(block, "docs/python.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        found = eval(code, cells)  # noqa: S307 - our own guide
        if inspect.iscoroutine(found):
            await found
    assert cells["report"].simulated
    assert cells["same"].matches[0].source_id == cells["cases"].matches[0].source_id == "weak-cell"
    assert len(cells["every_second"]) >= 1
    assert (tmp_path / "workshop.db").exists()


# --- a car ----------------------------------------------------------------------------------------------------------


async def test_a_place_interface_and_channel_mean_the_same_car() -> None:
    with virtualbus.running("healthy", seed=3) as simulated:
        async with diag.connect(simulated) as car:
            by_place = await diag.read(car, "09:02")
        async with diag.connect(simulated.interface, simulated.channel, 500_000) as car:
            by_name = await diag.read(car, "09:02", ecu=by_place[0].ecu)
    assert by_place[0].readings[0].value == by_name[0].readings[0].value
    assert len(str(by_name[0].readings[0].value)) == 17
    assert {one.wanted for one in by_place} == {parse_wanted("09:02")}


async def test_what_is_connected_only_reads() -> None:
    with virtualbus.running("healthy", seed=3) as simulated:
        async with diag.connect(simulated) as car:
            from diag.addressing import Target
            from diag.request import IsoTpLink

            async with IsoTpLink(car) as requests:
                with pytest.raises(diag.RefusedByPolicy):
                    await requests.request(Target.physical(0x7E4), bytes.fromhex("14FFFFFF"))
            assert car.guard.refused == 1


async def test_the_link_is_closed_at_the_end_also_after_an_error() -> None:
    with virtualbus.running("healthy", seed=3) as simulated:
        with pytest.raises(ZeroDivisionError):
            async with diag.connect(simulated) as car:
                raise ZeroDivisionError
        with pytest.raises(diag.LinkLost):
            await car.send(Frame(0x7DF, b"\x02\x01\x00"))


@pytest.mark.parametrize("name", ["can0", "elm327:", "doip:", "doip:host:port", "http://car", ""])
def test_a_name_that_names_no_car_is_said_at_once(name: str) -> None:
    with pytest.raises(diag.BadInput, match="interface and channel"):
        diag.connect(name)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[int]:
    """A simulated car's port of a front."""
    front = open_front(parse_front(request.param))
    runner = CarRunner(Car(find_scenario("isolation")), [front])
    runner.start()
    try:
        yield int(str(front.description["port"]))
    finally:
        runner.stop()


@pytest.mark.parametrize("served", ["doip:0"], indirect=True)
async def test_a_gateway_is_reached_by_its_name(served: int) -> None:
    async with diag.connect(f"doip:127.0.0.1:{served}") as car:
        answers = await diag.read(car, "F190", ecu="0x1003")
        assert len(await diag.listen(car, 0.01)) == 0  # DoIP shows no broadcast frames
    assert len(str(answers[0].readings[0].value)) == 17


@pytest.mark.parametrize("served", ["elm327:0:v2.2"], indirect=True)
async def test_an_interpreter_chip_is_reached_by_its_name(served: int) -> None:
    pytest.importorskip("obd", reason="python-OBD is optional")
    async with diag.connect(f"elm327:127.0.0.1:{served}") as car:
        answers = await diag.read(car, "09:02", ecu="0x7E8")
    assert len(str(answers[0].readings[0].value)) == 17


async def test_nobody_answers_on_a_dead_bus() -> None:
    async with diag.connect("virtual", "nobody-at-home") as car:
        with pytest.raises(diag.NoAnswer):
            await diag.read(car, "0C", timeout_s=0.05)
        assert len(await diag.listen(car, 0.05)) == 0


# --- values ---------------------------------------------------------------------------------------------------------


def test_a_row_per_frame_in_time_and_nothing_is_lost(decoded: dbc.Decoded) -> None:
    arrays = decoded.to_numpy("Speed", "Heat")
    assert arrays.t_ns.tolist() == [1_000_000_000, 1_500_000_000, 2_000_000_000, 2_500_000_000, 2_500_000_000]
    np.testing.assert_array_equal(arrays["Speed"], [5, np.nan, 10, 15, np.nan])
    np.testing.assert_array_equal(arrays["Heat"], [np.nan, 20, np.nan, np.nan, np.nan])


def test_names_in_several_messages_are_told_apart(decoded: dbc.Decoded) -> None:
    assert list(decoded.to_numpy().values) == ["Speed", "Fast.Shared", "Heat", "Slow.Shared"]
    assert decoded["Shared"].values.tolist() == [1, 3, 5]
    assert decoded["Slow.Shared"].values.tolist() == [2, 4]
    assert decoded.signals == ("Fast.Speed", "Fast.Shared", "Slow.Heat", "Slow.Shared")


def test_a_signal_that_is_not_there_is_said_with_what_is(decoded: dbc.Decoded) -> None:
    with pytest.raises(dbc.UnknownSignal, match="no database has a signal Sped; in these frames are Speed"):
        _ = decoded["Sped"]
    with pytest.raises(dbc.UnknownSignal, match="perhaps"):
        dbc.decode(FRAMES, load_bytes(DATABASE, "small.dbc"), signals=["Sped"])
    with pytest.raises(dbc.UnknownSignal):
        decoded.to_numpy("Speed", "Nothing")


def test_no_signal_at_all_is_an_empty_table() -> None:
    empty = dbc.decode(FrameTable.empty(), load_bytes(DATABASE, "small.dbc"))
    assert len(empty.to_numpy().t_ns) == len(empty.to_numpy().values) == 0


def test_pandas_has_the_same_values(decoded: dbc.Decoded) -> None:
    pandas = pytest.importorskip("pandas")
    frame = decoded.to_pandas("Speed", "Heat")
    assert list(frame.columns) == ["Speed", "Heat"]
    assert frame.index.name == "t"
    assert frame.index[0] == pandas.Timedelta(seconds=1)
    assert frame.attrs["units"] == {"Speed": "km/h", "Heat": "degC"}
    np.testing.assert_array_equal(frame["Speed"].to_numpy(), decoded.to_numpy("Speed", "Heat")["Speed"])
    utc = dbc.decode(FRAMES, load_bytes(DATABASE, "small.dbc"), start_ns=1_700_000_000_000_000_000).to_pandas("Heat")
    assert utc.index[0] == pandas.Timestamp("2023-11-14T22:13:21.5Z")
    assert len(utc) == 2


def test_polars_has_the_same_values(decoded: dbc.Decoded) -> None:
    polars = pytest.importorskip("polars")
    frame = decoded.to_polars("Speed", "Heat")
    assert frame.columns == ["t", "Speed", "Heat"]
    assert frame["t"].dtype == polars.Duration("ns")
    assert frame["Speed"].to_list() == [5.0, None, 10.0, 15.0, None]
    utc = dbc.decode(FRAMES, load_bytes(DATABASE, "small.dbc"), start_ns=1_700_000_000_000_000_000).to_polars("Heat")
    assert utc["t"].dtype == polars.Datetime("ns", "UTC")
    assert utc["t"].dt.timestamp("ms").to_list() == [1_700_000_001_500, 1_700_000_002_500]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_what_is_not_installed_is_named_with_its_extra(
    library: str, decoded: dbc.Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbc.dataframes.find_spec", lambda _: None)
    with pytest.raises(dbc.LibraryMissing, match=rf"pip install 'huizhen\[{library}\]'"):
        getattr(decoded, f"to_{library}")("Speed")


def test_a_file_tells_its_own_start(tmp_path: Path) -> None:
    (tmp_path / "small.dbc").write_bytes(DATABASE)
    (tmp_path / "drive.log").write_text("(1700000001.500000) can0 200#3C02000000000000\n")
    decoded = dbc.decode(tmp_path / "drive.log", tmp_path / "small.dbc")
    assert decoded.start_ns == 0
    assert decoded["Heat"].t_ns.tolist() == [1_700_000_001_500_000_000]
    assert dbc.decode(dbc.open_recording(tmp_path / "drive.log"), tmp_path / "small.dbc")["Heat"].values.tolist() == [
        20
    ]


# --- known fixes ----------------------------------------------------------------------------------------------------


def test_a_match_is_what_the_library_finds(tmp_path: Path) -> None:
    question = {"dtcs": ["P0DE6-16@bms"], "read": ["bms"]}
    with Library.built_in() as library:
        found = library.find(Query.from_json(question, symptom="续航变短"))
        assert casebase.match(question, symptom="续航变短", library=library) == found
    assert casebase.match(question, symptom="续航变短").to_json() == found.to_json()
    assert casebase.match(Query.from_json(question)).matches
    with casebase.open_library(tmp_path / "own.db", create=True) as own:
        assert casebase.match(json.loads(json.dumps(question)), library=own).verdict is casebase.Verdict(found.verdict)
    with pytest.raises(casebase.LibraryError):
        casebase.open_library(tmp_path / "none.db")


def test_examples_can_be_used_as_functions() -> None:
    """In a notebook: ``await scan_car.main([])``."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        module = importlib.import_module("match_cases")
        assert module.main([]).matches
        assert asyncio.iscoroutinefunction(importlib.import_module("scan_car").main)
    finally:
        sys.path.remove(str(ROOT / "examples"))


def test_a_notebook_shows_what_matters_and_no_foreign_markup() -> None:
    hostile = diag.Text("<script>alert(1)</script>", "<b>")
    report = diag.VehicleReport(
        0,
        1.0,
        complete=False,
        simulated=True,
        link=LinkInfo("virtual", "x"),
        vehicle=Vehicle(vin="LGXC76C30R0000001", make="<i>"),
        dtcs=(Dtc("P0DE6", b"", "0x7EC", "16", kind=(DtcKind.STORED,), text=hostile, severity=diag.Severity.LOW),),
        findings=(
            diag.Finding("later", diag.Severity.MONITOR, diag.Text("later", "以后"), ()),
            diag.Finding("first", diag.Severity.STOP, hostile, ()),
        ),
    )
    shown = report._repr_html_()
    assert "simulated, incomplete" in shown
    assert shown.index("first") < shown.index("later") < shown.index("P0DE6-16 0x7EC")
    assert "以后" in shown
    assert not {"<script>", "<b>", "<i>", "LGXC76C30R0000001"} & set(re.findall(r"<\w+>|LGX\w+", shown))
    cases = casebase.match({"dtcs": ["P0DE6-16@bms"], "read": ["bms"]})
    assert casebase.Cases(casebase.Verdict("none"))._repr_html_().startswith("<p>none")
    assert cases.matches[0].title.zh in cases._repr_html_()
