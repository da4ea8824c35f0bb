"""The figures and words of ``rules/findings.toml``: what separates possible from impossible and normal from odd."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

__all__ = ["RULES", "BatteryLimits", "load_limits", "load_rules"]

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
