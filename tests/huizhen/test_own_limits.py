"""A user's own figures for all cars and for some: they count, travel in bundles, and nonsense is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from diag.batteryreport import battery_report
from diag.limits import limits_for, load_limits, use_own_limits
from diag.samples import Series
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.settings import config_folder

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture
def own() -> Generator[Path]:
    folder = config_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "battery.toml"
    yield path
    path.unlink(missing_ok=True)
    use_own_limits(None)


def scanned(words: list[str], capfd: pytest.CaptureFixture[str]) -> dict:
    capfd.readouterr()
    assert main(["scan", *words, "--json", "-q"]) == Exit.DONE
    return json.loads(capfd.readouterr().out.splitlines()[-1])


def test_figures_for_all_cars_and_for_some(own: Path) -> None:
    own.write_text(
        "[limits]\ntemperature_soon_c = 50\n[vin.LGX]\ntemperature_soon_c = 48\ncell_possible_v = [1.0, 4.5]\n"
    )
    use_own_limits(own)
    assert limits_for(None).temperature_soon_c == 50.0
    assert limits_for("LHZ12345678901234").temperature_soon_c == 50.0
    assert limits_for("lgx12345678901234").temperature_soon_c == 48.0
    assert limits_for("LGX12345678901234").cell_possible_v == (1.0, 4.5)
    assert load_limits().temperature_soon_c == 55.0


def test_they_change_what_a_scan_says_and_travel_in_the_bundle(
    own: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own.write_text("[vin.LHZ]\ninsulation_soon_ohm_per_v = 1000000.0\n", "utf-8")
    bundle, again = tmp_path / "visit.hzb", tmp_path / "again.json"
    report = scanned(["--demo", "--scenario", "healthy", "-o", str(bundle)], capfd)
    assert "insulation.low" in [finding["code"] for finding in report["findings"]]
    own.unlink()
    assert main(["scan", "--from", str(bundle), "-q", "-o", str(again)]) == Exit.DONE
    assert json.loads(again.read_bytes())["findings"] == report["findings"]
    report = scanned(["--demo", "--scenario", "healthy"], capfd)
    assert report["findings"] == []


def test_every_battery_is_judged_with_them_also_without_a_vin() -> None:
    """What telematics, a charger and a recording give goes through the same report."""
    t_ns, sure = np.arange(5, dtype=np.int64), np.ones(5, np.bool_)
    series = {
        name: Series(name, unit, t_ns, np.full(5, value), sure)
        for name, unit, value in (
            *((f"CellVoltage_{number:03d}", "V", 3.7) for number in range(1, 97)),
            *((f"CellTemp_{number:02d}", "degC", 30.0) for number in range(1, 9)),
        )
    }
    try:
        assert battery_report(series, source="test").findings == ()
        use_own_limits({"limits": {"temperature_soon_c": 25.0}})
        assert [finding.code for finding in battery_report(series, source="test").findings] == ["thermal.hot"]
    finally:
        use_own_limits(None)


@pytest.mark.parametrize(
    "text",
    [
        "[limits]\nno_such = 1\n",
        "[limits]\ntemperature_soon_c = 'hot'\n",
        "[limits]\ntemperature_soon_c = true\n",
        "[limits]\ntemperature_soon_c = [1, 2]\n",
        "[limits]\ncell_possible_v = 3\n",
        "[other]\na = 1\n",
        "[vin]\nLHZ = 3\n",
        "not toml",
    ],
)
def test_nonsense_is_refused_with_the_place(own: Path, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    own.write_text(text, "utf-8")
    for command in (["scan", "--demo"], ["battery", "--demo"]):
        assert main([*command, "--lang", "en"]) == Exit.USAGE
        assert "battery.toml" in capfd.readouterr().err
