"""The figures and words of ``rules/findings.toml``: what separates possible from impossible and normal from odd."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RULES", "BatteryLimits", "limits_for", "load_limits", "load_rules", "own_limits", "use_own_limits"]

RULES: Final = Path(__file__).parent / "rules" / "findings.toml"


@dataclass(frozen=True, slots=True)
class BatteryLimits:
    """Each is a setting in the rule file, explained there.

    Volts, millivolts, amperes, degrees Celsius, kelvin and Ω/V as the names say; those without a unit are fractions.
    """

    cell_min_v: float
    cell_max_v: float
    cell_possible_v: tuple[float, float]
    pack_possible_v: tuple[float, float]
    temperature_possible_c: tuple[float, float]
    z_flag: float
    mad_floor_mv: float
    insulation_stop_ohm_per_v: float
    insulation_soon_ohm_per_v: float
    cell_low_monitor_mv: float
    cell_low_soon_mv: float
    light_load_a: float
    load_monitor_mv: float
    opposition_mv: float
    opposition_imbalance: float
    spread_monitor_mv: float
    spread_soon_mv: float
    sum_mismatch_v: float
    sum_mismatch_share: float
    temperature_soon_c: float
    temperature_stop_c: float
    probe_possible_c: tuple[float, float]
    probe_outlier_k: float
    cleared_distance_km: float
    cleared_warm_ups: float
    natural_spread: float
    resistance_watch: float
    z_model: float
    joint_share: float
    joint_needs_share: float
    capacity_watch: float
    capacity_seen: float
    charge_seen: float
    model_scatter: float
    z_capacity: float
    capacity_beside_charge: float
    charge_spread: float
    charge_watch: float
    probe_still_s: float
    probe_still_k: float
    probe_offset_k: float
    short_heat_k: float
    soc_jump: float
    soc_jump_s: float
    smallest_pack_ah: float
    rest_a: float
    rest_mv: float
    load_mv: float
    current_offset_a: float
    current_gain: float
    car_soc_error: float
    health_needs_swing: float
    health_needs_readings: float
    health_widest: float
    sum_recorded_share: float
    warranty_percent: float
    warranty_years: float
    study_needs_s: float
    link_apart: float
    link_apart_s: float
    link_holds_s: float
    precharge_s: float
    offset_told_a: float
    offset_readings: float
    isolation_readings: float
    isolation_mostly: float
    gradient_k: float
    gradient_growth_k: float


@cache
def load_rules() -> dict[str, Any]:
    """The rule file as it stands."""
    return tomllib.loads(RULES.read_text(encoding="utf-8"))


@cache
def load_limits() -> BatteryLimits:
    """The limits of the rule file, with the cell window of its default chemistry."""
    rules = load_rules()
    figures: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in (rules["limits"] | rules["chemistry"]["nmc"]).items()
    }
    return BatteryLimits(**figures)


_own: dict[str, Any] = {}
_told: dict[str, Any] = {}


def own_limits() -> dict[str, Any]:
    """What :func:`use_own_limits` was given, as JSON holds it."""
    return dict(_told)


def use_own_limits(given: Path | Mapping[str, Any] | None) -> None:
    """Takes a user's own figures into account from now on.

    Args:
        given: a TOML file or what is in one: ``[limits]`` for all cars, ``[vin.LGX]`` for those whose VIN begins so,
            the longest beginning last; names as in the rule file. None = the rule file alone again.

    Raises:
        OSError, UnicodeDecodeError, tomllib.TOMLDecodeError: it cannot be read.
        ValueError: a name that is no limit, or a figure of another kind.
    """
    _own.clear()
    _told.clear()
    if given is None:
        return
    told = tomllib.loads(given.read_text(encoding="utf-8")) if isinstance(given, Path) else given
    for name in told:
        if name not in ("limits", "vin"):
            raise ValueError(f"[{name}]")
    parts = {"": told.get("limits", {}), **told.get("vin", {})}
    _own.update({start: _checked(start, part) for start, part in parts.items()})
    _told.update(told)


def _checked(start: str, part: Any) -> dict[str, Any]:
    usual = load_limits()
    place = f"[vin.{start}]" if start else "[limits]"
    if not isinstance(part, dict):
        raise TypeError(place)
    found: dict[str, Any] = {}
    for name, value in part.items():
        before = getattr(usual, name, None)
        if before is None:
            raise ValueError(f"{place} {name}")
        pair = tuple(value) if isinstance(value, list) else value
        numbers = pair if isinstance(pair, tuple) else (pair,)
        is_number = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in numbers)
        if not is_number or isinstance(before, tuple) != isinstance(pair, tuple):
            raise ValueError(f"{place} {name} = {value!r}")
        found[name] = pair if isinstance(pair, tuple) else float(pair)
    return found


def limits_for(vin: str | None) -> BatteryLimits:
    """The limits of one car: the rule file's, and over them the user's own for all cars and for cars like this."""
    limits = load_limits()
    for start in sorted(_own, key=len):
        if (vin or "").upper().startswith(start.upper()):
            limits = replace(limits, **_own[start])
    return limits
