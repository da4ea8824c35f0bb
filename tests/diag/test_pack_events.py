"""Contactors, precharge, offset, leaks that come and go, warm modules: told from series, silent on sound ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from diag.batterydoctor import study_battery
from diag.facts import Severity
from diag.samples import Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

SECONDS = 600
CELLS, PROBES = 12, 4
T = np.arange(SECONDS) * 10**9
RNG = np.random.default_rng(5)


def series(name: str, unit: str, values: NDArray[np.float64] | float) -> Series:
    table = np.broadcast_to(np.asarray(values, dtype=np.float64), (SECONDS,)).copy()
    return Series(name, unit, T.astype(np.int64), table, np.ones(SECONDS, np.bool_))


def car(**changed: NDArray[np.float64] | float) -> dict[str, Series]:
    """A car that starts at 10 s, drives, and is switched off at 500 s; ``changed`` replaces signals."""
    second = np.arange(SECONDS)
    is_on = (second >= 10) & (second < 500)
    current = np.where(is_on, 40.0 + 35.0 * np.sin(second / 7.0), 0.0)
    cells = 3.7 - 0.0015 * current[:, None] + 0.0005 * RNG.standard_normal((SECONDS, CELLS))
    pack = np.full(SECONDS, 3.7 * CELLS * 8)
    link = np.where(second < 9, 0.0, np.where(second < 500, pack, np.maximum(0.0, pack - 80.0 * (second - 499))))
    found = {
        "PackVoltage": ("V", pack),
        "PackCurrent": ("A", current),
        "MainPositive": ("", is_on.astype(float)),
        "MainNegative": ("", is_on.astype(float)),
        "PrechargeRelay": ("", (second == 9).astype(float)),
        "DcLinkVoltage": ("V", link),
        "InsulationResistance": ("kOhm", np.full(SECONDS, 5000.0)),
    }
    found |= {f"CellVoltage_{cell + 1:02d}": ("V", cells[:, cell]) for cell in range(CELLS)}
    found |= {f"CellTemp_{probe + 1:02d}": ("degC", 20.0 + second / 200.0) for probe in range(PROBES)}
    out = {name: series(name, unit, values) for name, (unit, values) in found.items()}
    for name, values in changed.items():
        out[name] = series(name, found[name][0], values)
    return out


def codes(given: dict[str, Series]) -> set[str]:
    study = study_battery(given)
    assert study is not None
    return {finding.code for finding in study.findings} - {"data.cell-sum"}


def test_a_sound_car_says_nothing() -> None:
    assert codes(car()) == set()


def test_a_contactor_that_does_not_conduct() -> None:
    second = np.arange(SECONDS)
    link = np.where((second > 300) & (second < 320), 20.0, 355.2)
    link[second < 9] = 0.0
    link[second >= 500] = 0.0
    assert codes(car(DcLinkVoltage=link)) == {"hv.contactor-open"}


def test_a_link_that_stays_live_is_a_welded_contactor_and_stops_the_work() -> None:
    second = np.arange(SECONDS)
    link = np.where(second < 9, 0.0, 355.2)
    study = study_battery(car(DcLinkVoltage=link))
    assert study is not None
    (finding,) = [finding for finding in study.findings if finding.code.startswith("hv.")]
    assert finding.code == "hv.contactor-welded"
    assert finding.severity is Severity.STOP
    assert finding.safety
    assert "500 s" in finding.evidence[0].ref or "499 s" in finding.evidence[0].ref


def test_a_precharge_that_takes_too_long() -> None:
    second = np.arange(SECONDS)
    assert codes(car(PrechargeRelay=((second >= 2) & (second < 9)).astype(float))) == {"hv.precharge-slow"}


def test_a_current_where_none_can_flow() -> None:
    base = car()["PackCurrent"].values
    assert codes(car(PackCurrent=base + 2.5)) == {"battery.current-offset"}
    assert codes(car(PackCurrent=base + 0.4)) == set()


@pytest.mark.parametrize(("share", "wanted"), [(0.0, False), (0.05, True), (0.5, True), (1.0, False)])
def test_a_leak_that_comes_and_goes(share: float, wanted: bool) -> None:
    kohm = np.where(np.arange(SECONDS) < share * SECONDS, 60.0, 5000.0)
    assert ("insulation.intermittent" in codes(car(InsulationResistance=kohm))) is wanted


def test_a_module_that_grows_warm_alone() -> None:
    warm = 20.0 + np.arange(SECONDS) / 200.0 + np.arange(SECONDS) / 75.0
    assert "thermal.gradient" in codes(car(CellTemp_02=warm))
    assert "thermal.gradient" not in codes(car(CellTemp_02=20.0 + np.arange(SECONDS) / 150.0))


def test_what_no_database_names_is_not_judged() -> None:
    given = car(DcLinkVoltage=355.2)
    for name in ("MainPositive", "MainNegative", "PrechargeRelay"):
        del given[name]
    assert codes(given) == set()
