"""State of health of a pack: capacity by several methods with intervals, what the car says, and what is missing.

A figure never stands alone: each method gives an interval of 95 % made of how well the charge at both ends and the
charge in between are known. Methods may disagree; the best known one is shown first. Without enough data the answer
is "not enough data", with what would be needed.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.facts import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diag.cellmodel import CellModel
    from diag.facts import Json
    from diag.limits import BatteryLimits
    from diag.packseries import PackSeries

    Floats = NDArray[np.float64]

__all__ = ["METHOD_NAMES", "Capacity", "Health", "find_health"]

METHOD_NAMES: Final = {
    "rest-to-rest": Text("capacity between two rests", "两次静置之间的容量"),
    "under-load": Text("capacity over the voltage curve, without rests", "按电压曲线估算容量（无静置）"),
    "incremental": Text("incremental capacity (shape of dQ/dV)", "增量容量（dQ/dV 曲线形状）"),
    "resistance": Text("by resistance (100 % new, 0 % at twice that)", "按内阻推算（新电池为 100 %，内阻翻倍为 0 %）"),
    "car-charge": Text("capacity by the car's own state of charge", "按车载 SOC 推算的容量"),
    "car-says": Text("what the car says", "车辆自报"),
}
_95: Final = 1.96


@dataclass(frozen=True, slots=True)
class Capacity:
    """One method's answer.

    Args:
        method: ``rest-to-rest``, ``under-load``, ``incremental``, ``car-charge``, ``resistance`` or ``car-says``.
        ah: ampere-hours, None where the method gives a percentage only.
        interval_ah: 95 %.
        percent: of the rated capacity, None where that is not known.
        interval: 95 %, of the rated capacity.
        swing: state of charge that passed, 0..1.
    """

    method: str
    ah: float | None
    interval_ah: tuple[float, float] | None
    percent: float | None
    interval: tuple[float, float] | None
    swing: float | None = None

    @property
    def name(self) -> Text:
        """The method in words."""
        return METHOD_NAMES[self.method]

    def to_json(self) -> Json:
        """One entry of ``soh_methods``."""
        return {
            "method": self.method,
            "name": self.name.to_json(),
            "capacity_ah": None if self.ah is None else round(self.ah, 2),
            "interval_ah": None if self.interval_ah is None else [round(value, 2) for value in self.interval_ah],
            "percent": None if self.percent is None else round(self.percent, 1),
            "interval": None if self.interval is None else [round(value, 1) for value in self.interval],
            "swing_percent": None if self.swing is None else round(100 * self.swing, 1),
        }


@dataclass(frozen=True, slots=True)
class Health:
    """All methods, the best known first.

    Args:
        rated_ah: None where nobody told it.
        why_not: what is missing where there is no figure.
    """

    methods: tuple[Capacity, ...]
    rated_ah: float | None
    why_not: Text | None = None

    @property
    def best(self) -> Capacity | None:
        """The method to quote: the narrowest measured one, else what the car says."""
        with_percent = [item for item in self.methods if item.percent is not None and item.method != "resistance"]
        return with_percent[0] if with_percent else None

    def to_json(self) -> Json | None:
        """``soh`` of the contract: percent, interval and method, or None."""
        best = self.best
        if best is None or best.percent is None:
            return None
        interval = None if best.interval is None else [round(value, 1) for value in best.interval]
        return {"percent": round(best.percent, 1), "interval": interval, "method": best.method}


def find_health(
    pack: PackSeries | None,
    model: CellModel | None,
    limits: BatteryLimits,
    *,
    rated_ah: float | None = None,
    rated_mohm: float | None = None,
    car_says: float | None = None,
) -> Health:
    """Capacity and state of health from a pack's series.

    Args:
        pack: its series.
        model: the fit of its cells.
        limits: with what a current sensor and a table may be wrong.
        rated_ah: capacity when new.
        rated_mohm: resistance of one cell when new at 25 °C, over some seconds, milliohms.
        car_says: state of health in percent as the car tells it.
    """
    found: list[Capacity] = []
    if pack is not None and model is not None:
        measured = (
            _rest_to_rest(pack, model, limits),
            _under_load(pack, model, limits),
            _incremental(pack, model, limits),
            _car_charge(pack, limits),
        )
        found += [_with_percent(item, rated_ah) for item in measured if item is not None]
    found.sort(key=lambda item: math.inf if item.interval_ah is None else item.interval_ah[1] - item.interval_ah[0])
    if pack is not None and model is not None and rated_mohm is not None:
        found += _by_resistance(pack, model, rated_mohm)
    if car_says is not None:
        found.append(Capacity("car-says", None, None, car_says, None))
    why_not = None
    if not any(item.ah is not None for item in found):
        why_not = Text(
            "not enough data: record a charge from 20 to 80 % with half an hour of rest before and after it",
            "数据不足：请记录一次 20 % 至 80 % 的充电，充电前后各静置半小时",
        )
    elif rated_ah is None:
        why_not = Text(
            "the capacity when new is not known: give it with --rated-ah", "额定容量未知：请用 --rated-ah 给出"
        )
    return Health(tuple(found), rated_ah, why_not)


def _with_percent(item: Capacity, rated_ah: float | None) -> Capacity:
    if rated_ah is None or item.ah is None or item.interval_ah is None:
        return item
    low, high = item.interval_ah
    share = 100 / rated_ah
    return Capacity(item.method, item.ah, item.interval_ah, item.ah * share, (low * share, high * share), item.swing)


def _capacity(
    method: str, charge_ah: float, charge_error: float, swing: float, swing_error: float, limits: BatteryLimits
) -> Capacity | None:
    """Capacity as charge over swing with its interval; None where the interval would say nothing."""
    if swing <= 0 or charge_ah <= 0 or swing < limits.health_needs_swing:
        return None
    ah = charge_ah / swing
    error = _95 * ah * math.hypot(charge_error / charge_ah, swing_error / swing)
    if error > limits.health_widest * ah:
        return None
    return Capacity(method, ah, (ah - error, ah + error), None, None, swing)


def _charge_between(pack: PackSeries, start: int, end: int, limits: BatteryLimits) -> tuple[float, float] | None:
    """Ampere-hours taken between two rows and their error: offset and gain of the sensor, gaps in the readings."""
    current, seen = pack.current_a[start : end + 1], np.isfinite(pack.current_a[start : end + 1])
    if seen.sum() < limits.health_needs_readings * len(seen):
        return None
    rows = np.arange(len(current))
    filled = np.interp(rows, rows[seen], current[seen])
    steps = np.diff(pack.t_s[start : end + 1])
    charge = float(((filled[1:] + filled[:-1]) / 2 * steps).sum()) / 3600
    hours = float(steps.sum()) / 3600
    lost = 1 - float(seen.mean())
    error = math.hypot(limits.current_offset_a * hours, (limits.current_gain + lost) * abs(charge))
    return charge, error


def _rests(pack: PackSeries, model: CellModel, limits: BatteryLimits) -> list[tuple[int, int]]:
    """Stretches without current that are long enough for the voltage to tell the charge: first and last row."""
    if model.kind is None:
        return []
    calm = np.isfinite(pack.current_a) & (np.abs(pack.current_a) <= limits.rest_a)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], calm.astype(np.int8), [0]))))
    pairs = zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True)
    need_s = model.kind.chemistry.rest_s
    return [(start, end) for start, end in pairs if pack.t_s[end] - pack.t_s[start] >= need_s]


def _rest_to_rest(pack: PackSeries, model: CellModel, limits: BatteryLimits) -> Capacity | None:
    """Charge between the ends of the two rests that lie furthest apart in charge."""
    rests = _rests(pack, model, limits)
    kind = model.kind
    if len(rests) < 2 or kind is None:
        return None
    median = pack.median_v
    told = []
    for _, end in rests:
        last = median[max(0, end - 30) : end + 1]
        if np.isfinite(last).any():
            volts = float(np.nanmedian(last))
            soc = float(kind.soc_from_ocv(np.array([volts]))[0])
            told.append((end, soc, kind.soc_error(soc, limits.rest_mv)))
    best: Capacity | None = None
    for number, (start, soc, error) in enumerate(told):
        for end, soc_end, error_end in told[number + 1 :]:
            between = _charge_between(pack, start, end, limits)
            if between is None:
                continue
            charge, charge_error = between
            if charge * (soc - soc_end) <= 0:
                continue
            item = _capacity(
                "rest-to-rest", abs(charge), charge_error, abs(soc - soc_end), math.hypot(error, error_end), limits
            )
            if item is not None and (best is None or _width(item) < _width(best)):
                best = item
    return best


def _width(item: Capacity) -> float:
    return math.inf if item.interval_ah is None else item.interval_ah[1] - item.interval_ah[0]


def _under_load(pack: PackSeries, model: CellModel, limits: BatteryLimits) -> Capacity | None:
    """The voltage curve, freed from the load, against the charge taken out; not where the curve is flat."""
    kind = model.kind
    seen = np.flatnonzero(np.isfinite(model.soc))
    if kind is None or model.swing is None or len(seen) < 2 or not np.isfinite(model.pack_resistance):
        return None
    low, high = float(np.nanmin(model.soc)), float(np.nanmax(model.soc))
    first, last = int(np.nanargmax(model.soc)), int(np.nanargmin(model.soc))
    start, end = min(first, last), max(first, last)
    between = _charge_between(pack, start, end, limits)
    if between is None:
        return None
    error = math.hypot(*(kind.soc_error(soc, limits.load_mv) for soc in (low, high)))
    return _capacity("under-load", abs(between[0]), between[1], high - low, error, limits)


def _incremental(pack: PackSeries, model: CellModel, limits: BatteryLimits) -> Capacity | None:
    """The shape of the charge over the voltage against the table's: how steep it is, wherever it lies.

    The voltage may be off by a constant (a load that the model does not free it from), because the best shift is
    looked for. Only a stretch of charging or discharging with enough voltage in it tells a shape.
    """
    kind = model.kind
    seen = np.isfinite(model.ocv_v) & np.isfinite(pack.current_a)
    if kind is None or model.swing is None or model.swing < limits.health_needs_swing or not seen.any():
        return None
    rows = np.flatnonzero(seen)
    taken = model.taken
    first, last = sorted((int(rows[np.argmin(taken[rows])]), int(rows[np.argmax(taken[rows])])))
    between = _charge_between(pack, first, last, limits)
    part = rows[(rows >= first) & (rows <= last)]
    volts = model.ocv_v[part]
    grid = np.arange(math.ceil(float(volts.min()) / _STEP_V) * _STEP_V, float(volts.max()), _STEP_V)
    span = float(np.ptp(taken[part]))
    if between is None or len(grid) < _FEWEST_STEPS or span <= 0:
        return None
    share = (taken[part] - taken[part].min()) / span * abs(between[0])
    order = np.argsort(volts, kind="stable")
    # Rising voltage, falling charge taken: a running mean over the readings tames their noise.
    charge = np.interp(grid, volts[order], _smooth(share[order], max(3, len(order) // _SMOOTH_SHARE)))
    steps = -np.diff(charge)
    best: tuple[float, float, float] | None = None
    for shift in np.arange(-_MOST_SHIFT_V, _MOST_SHIFT_V + 1e-9, _SHIFT_STEP_V):
        told = np.diff(kind.soc_from_ocv(grid + shift))
        power = float((told**2).sum())
        if power <= 0:
            continue
        ah = float((steps * told).sum()) / power
        rest = float(((steps - ah * told) ** 2).sum())
        if best is None or rest < best[0]:
            best = rest, ah, power
    if best is None or best[1] <= 0:
        return None
    rest, ah, power = best
    # Neighbouring steps share readings: about one in four is new.
    shape = math.sqrt(rest / max(1, len(steps) - 2) / power) * _NEIGHBOURS
    relative = math.hypot(shape / ah, between[1] / abs(between[0]), _SHAPE_ERROR, 2 * kind.error)
    error = _95 * ah * relative
    if error > limits.health_widest * ah:
        return None
    return Capacity("incremental", ah, (ah - error, ah + error), None, None, model.swing)


_STEP_V: Final = 0.01
_FEWEST_STEPS: Final = 12
_SMOOTH_SHARE: Final = 40
_MOST_SHIFT_V: Final = 0.03
_SHIFT_STEP_V: Final = 0.002
_NEIGHBOURS: Final = 2.0
_SHAPE_ERROR: Final = 0.03
"""What a table of fifteen points may be wrong in its slope."""


def _smooth(values: Floats, width: int) -> Floats:
    """Running mean, the ends from what is there."""
    ones = np.ones(width)
    return np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")


def _by_resistance(pack: PackSeries, model: CellModel, rated_mohm: float) -> list[Capacity]:
    """Resistance of the median cell against that of a new one: 100 % new, 0 % at twice that.

    Cold cells have more: brought to 25 °C by 1.5 % per kelvin, and not told further than 15 K away from there.
    """
    told = pack.temperature_c[np.isfinite(pack.temperature_c)]
    if not np.isfinite(model.pack_resistance) or not len(told):
        return []
    away = float(np.median(told)) - _REFERENCE_C
    if abs(away) > _FARTHEST_K:
        return []
    now = model.pack_resistance * 1000 * math.exp(_PER_KELVIN * away)
    percent = 100 * (2 - now / rated_mohm)
    error = _95 * 100 * now / rated_mohm * math.hypot(_RESISTANCE_ERROR, _PER_KELVIN_ERROR * away)
    return [Capacity("resistance", None, None, percent, (percent - error, percent + error))]


_REFERENCE_C: Final = 25.0
_FARTHEST_K: Final = 15.0
_PER_KELVIN: Final = 0.015
_PER_KELVIN_ERROR: Final = 0.007
_RESISTANCE_ERROR: Final = 0.05


def _car_charge(pack: PackSeries, limits: BatteryLimits) -> Capacity | None:
    """Charge over the change of the car's own state of charge; only as good as that."""
    seen = np.flatnonzero(np.isfinite(pack.soc))
    if len(seen) < 2:
        return None
    high, low = int(seen[np.argmax(pack.soc[seen])]), int(seen[np.argmin(pack.soc[seen])])
    between = _charge_between(pack, min(high, low), max(high, low), limits)
    if between is None:
        return None
    swing = float(pack.soc[high] - pack.soc[low])
    if between[0] * (1 if high < low else -1) <= 0:
        return None
    return _capacity("car-charge", abs(between[0]), between[1], swing, limits.car_soc_error, limits)
