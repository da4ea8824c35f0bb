"""What sets each cell apart from the median cell: resistance, capacity, charge; each with its uncertainty.

A cell's distance from the median is explained, over the whole recording at once, by four causes that leave different
traces: its ohmic resistance follows the current at once, its polarisation follows it with a delay, a difference of
charge follows the slope of the open-circuit voltage, and a difference of capacity makes that difference grow with the
charge taken out. Load is thereby no disturbance but the test signal. What the recording cannot tell comes out with a
large uncertainty and is said to be not visible, never taken for sound.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diag.celltypes import fit_cell_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from diag.celltypes import CellType, ChargeFit
    from diag.packseries import PackSeries

    Floats = NDArray[np.float64]

__all__ = ["CellModel", "fit_cells"]

_TAU_S: Final = (8.0, 16.0, 30.0, 60.0, 120.0)
_FEWEST_ROWS: Final = 30
_FEWEST_CELLS: Final = 4
_MOVING_A: Final = 3.0
"""Spread of the current without which nothing is said about resistance."""
_SWING: Final = 0.03
"""State of charge that must pass for a word about capacity."""
_CONVERTER_V: Final = 0.0008
_WANDER_V: Final = 0.00012
_DROP_SHARE: Final = 0.04
_FAR_CHARGE: Final = 0.01
_FAR_ROUNDS: Final = 6
_CLIFF: Final = 0.02
"""State of charge below which a cell's voltage falls off."""
_CLIFF_ROWS: Final = 0.25
_FARTHEST: Final = 0.8
"""No cell differs by so much in charge or capacity and still works."""
_TABLE_SHARE: Final = 0.1
"""1 sigma of a slope that a table tells, as a share."""


@dataclass(frozen=True, slots=True)
class CellModel:
    """One entry per cell; ``*_error`` is 1 sigma; NaN where there is no cell or the recording does not tell.

    Args:
        kind: the cells' type, None when no table fits.
        pack_ohmic: ohms of the median cell that answer at once (pulse resistance of about a second).
        pack_polarisation: ohms of the median cell that answer with ``tau_s``.
        ohmic, polarisation: ohms more than the median cell.
        resistance_error: of their sum, which is known better than either.
        charge: state of charge more than the median cell at the beginning, 0..1.
        capacity: share of capacity more than the median cell, 0.1 = 10 % more.
        offset_v: mean distance from the median, freed from the current's share, volts.
        current_spread_a: standard deviation of the current.
        swing: state of charge that passed between the extremes, 0..1; None when not known.
        noise_v: scatter of one reading against the model.
        ocv_v: volts of the median cell freed from the current's share, one per row of the series.
        soc: its state of charge 0..1 per row, NaN where not known.
        taken: charge taken out since the beginning as a share of the capacity, per row.
    """

    kind: CellType | None
    pack_ohmic: float
    pack_polarisation: float
    tau_s: float
    ohmic: Floats
    ohmic_error: Floats
    polarisation: Floats
    polarisation_error: Floats
    resistance_error: Floats
    charge: Floats
    charge_error: Floats
    capacity: Floats
    capacity_error: Floats
    offset_v: Floats
    current_spread_a: float
    swing: float | None
    noise_v: float
    ocv_v: Floats
    soc: Floats
    taken: Floats

    @property
    def resistance(self) -> Floats:
        """Ohms more than the median cell, both parts."""
        return self.ohmic + self.polarisation

    @property
    def pack_resistance(self) -> float:
        """Ohms of the median cell, both parts."""
        return self.pack_ohmic + self.pack_polarisation


def fit_cells(pack: PackSeries, *, kind: CellType | None = None) -> CellModel | None:
    """Fits the model to a pack.

    Args:
        pack: its series.
        kind: the cells' type where it is known.

    Returns:
        None with fewer than four cells, without current, or with less than half a minute of readings.
    """
    median = pack.median_v
    current = _filled(pack.current_a)
    good = np.isfinite(median) & np.isfinite(pack.current_a)
    cells = np.isfinite(pack.cell_v).sum(axis=0) >= _FEWEST_ROWS
    if int(good.sum()) < _FEWEST_ROWS or int(cells.sum()) < _FEWEST_CELLS:
        return None
    spread_a = float(np.std(pack.current_a[good]))
    taken_ah = _charge_taken(pack, current)
    tau_s, ohmic, polarisation = _median_cell(pack, median, current, taken_ah, good)
    lagged = _lag(current, pack.t_s, tau_s)
    ocv = median + ohmic * current + polarisation * lagged
    told = pack.soc[good]
    fit = fit_cell_type(ocv[good], taken_ah[good], told, None if kind is None else (kind,))
    soc, taken = np.full(len(median), np.nan), np.zeros(len(median))
    swing = None
    if fit is not None:
        soc[good] = fit.soc
        taken = fit.per_ah * (taken_ah - taken_ah[good][0])
        swing = float(np.ptp(taken[good]))
    columns = {"ohmic": -current, "polarisation": -lagged} if spread_a >= _MOVING_A else {}
    slope = fit.kind.slope(np.nan_to_num(soc, nan=0.5)) if fit is not None else np.ones(len(median))
    columns["charge"] = slope
    if swing is not None and swing >= _SWING:
        columns["capacity"] = slope * taken
    deviation = pack.cell_v - median[:, None]
    values, errors, noise = _fit_all(deviation, columns, pack.weight, good)
    if fit is not None:
        _fit_far(deviation, columns, pack.weight, good, median, fit, soc, taken, values, errors)
    many = pack.cell_v.shape[1]
    nothing = np.full(many, np.nan)
    charge = values["charge"]
    usual_slope = float(np.median(slope[good]))
    return CellModel(
        kind=fit.kind if fit is not None else None,
        pack_ohmic=ohmic if spread_a >= _MOVING_A else np.nan,
        pack_polarisation=polarisation if spread_a >= _MOVING_A else np.nan,
        tau_s=tau_s,
        ohmic=values.get("ohmic", nothing),
        ohmic_error=errors.get("ohmic", nothing),
        polarisation=values.get("polarisation", nothing),
        polarisation_error=errors.get("polarisation", nothing),
        resistance_error=errors.get(_BOTH, nothing),
        charge=charge if fit is not None else nothing,
        charge_error=_charge_error(
            errors["charge"],
            values,
            current[good],
            usual_slope if "capacity" in columns else _slopes(fit.kind, soc[good], charge, usual_slope),
        )
        if fit is not None
        else nothing,
        capacity=values.get("capacity", nothing),
        capacity_error=_capacity_error(errors["capacity"], columns["capacity"][good])
        if "capacity" in errors
        else nothing,
        offset_v=charge * usual_slope,
        current_spread_a=spread_a,
        swing=swing,
        noise_v=noise,
        ocv_v=ocv,
        soc=soc,
        taken=taken,
    )


def _slopes(kind: CellType, soc: Floats, charge: Floats, usual: float) -> Floats:
    """Volts per charge between the median cell and each cell, where all of them stay at one place of the curve.

    On the way to a flatter part a millivolt means more charge.
    """
    middle = float(np.nanmedian(soc))
    away = np.clip(middle + np.nan_to_num(charge), 0.0, 1.0)
    rise = kind.ocv(away) - kind.ocv(np.array([middle]))
    apart = away - middle
    far = np.abs(apart) > 1e-4
    return np.where(far, np.minimum(usual, np.abs(rise) / np.where(far, np.abs(apart), 1.0)), usual)


def _charge_error(error: Floats, values: dict[str, Floats], current_a: Floats, slope: float | Floats) -> Floats:
    """Adds what converters differ by, and a share of the drop that a cell's own resistance explains."""
    more = sum(np.abs(values[name]) for name in ("ohmic", "polarisation") if name in values)
    drop_v = _DROP_SHARE * more * float(np.mean(np.abs(current_a)))
    return np.sqrt(error**2 + (np.hypot(_CONVERTER_V, drop_v) / np.maximum(slope, 1e-6)) ** 2)


def _capacity_error(error: Floats, trace_v: Floats) -> Floats:
    """Adds what a converter wanders by: small beside the trace that a whole capacity leaves, or nothing is visible."""
    return np.hypot(error, _WANDER_V / max(float(np.std(trace_v)), 1e-9))


def _filled(current_a: Floats) -> Floats:
    """The current with its gaps closed by straight lines; they are left out of the fit and only carry the lag."""
    seen = np.isfinite(current_a)
    if not seen.any():
        return np.zeros(len(current_a))
    rows = np.arange(len(current_a))
    return np.interp(rows, rows[seen], current_a[seen])


def _lag(current_a: Floats, t_s: Floats, tau_s: float) -> Floats:
    """The current as an RC pair follows it, averaged over each bin like the readings."""
    out = np.empty(len(current_a))
    state = 0.0
    steps = np.diff(t_s, prepend=t_s[0] - (t_s[1] - t_s[0] if len(t_s) > 1 else 1.0))
    decays = np.exp(-steps / tau_s)
    means = (1 - decays) * tau_s / steps
    for row, (amperes, decay, mean) in enumerate(zip(current_a.tolist(), decays.tolist(), means.tolist(), strict=True)):
        out[row] = amperes + (state - amperes) * mean
        state = amperes + (state - amperes) * decay
    return out


def _charge_taken(pack: PackSeries, current_a: Floats) -> Floats:
    """Ampere-hours taken out since the beginning."""
    steps = np.diff(pack.t_s, prepend=pack.t_s[0])
    before = np.concatenate(([current_a[0]], current_a[:-1]))
    return np.cumsum((current_a + before) / 2 * steps) / 3600


def _median_cell(
    pack: PackSeries, median: Floats, current: Floats, taken_ah: Floats, good: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Time constant, ohmic and polarisation resistance of the median cell.

    The open-circuit voltage in between is any smooth curve of the charge taken out.
    """
    span = float(np.ptp(taken_ah[good]))
    x = (taken_ah[good] - taken_ah[good].mean()) / span if span > 0 else np.zeros(int(good.sum()))
    weight = np.sqrt(pack.weight[good])
    curve = [x**power for power in range(_CURVE_ORDER + 1)] if span > 0 else [np.ones(len(x))]
    best = (np.inf, _TAU_S[0], 0.0, 0.0)
    for tau_s in _TAU_S:
        lagged = _lag(current, pack.t_s, tau_s)[good]
        table = np.column_stack([-current[good], -lagged, *curve])
        solution, *_ = np.linalg.lstsq(table * weight[:, None], median[good] * weight, rcond=None)
        rest = float(np.mean((weight * (median[good] - table @ solution)) ** 2))
        if rest < best[0]:
            best = (rest, tau_s, float(solution[0]), float(solution[1]))
    return best[1], max(0.0, best[2]), max(0.0, best[3])


_CURVE_ORDER: Final = 5


def _fit_far(
    deviation: Floats,
    columns: dict[str, Floats],
    weight: Floats,
    good: NDArray[np.bool_],
    median: Floats,
    fit: ChargeFit,
    soc: Floats,
    taken: Floats,
    values: dict[str, Floats],
    errors: dict[str, Floats],
) -> None:
    """Cells far from the median are elsewhere on the curve: for them its slope there counts, found by Gauss-Newton.

    What the table itself may be wrong shows as a false difference of capacity in such a cell, and widens its error.
    """
    reach = np.abs(values["charge"]) + np.abs(np.nan_to_num(values.get("capacity", values["charge"] * 0))) * float(
        np.ptp(taken[good])
    )
    for cell in np.flatnonzero(reach > _FAR_CHARGE):
        rows = good & np.isfinite(deviation[:, cell])
        kind = fit.kind
        above = rows & (median + deviation[:, cell] > kind.ocv(np.array([_CLIFF]))[0])
        if int(above.sum()) >= max(_FEWEST_ROWS, int(_CLIFF_ROWS * rows.sum())):
            rows = above  # an empty cell falls as no table says; what it did before tells what it is
        at = np.nan_to_num(soc[rows], nan=0.5)
        root = np.sqrt(weight[rows])
        own = {name: column[rows] for name, column in columns.items()}
        solution = {name: float(values[name][cell]) for name in columns}
        solution["charge"] = float(np.clip(solution["charge"], -0.3, 0.3))
        if "capacity" in solution:
            solution["capacity"] = float(np.clip(solution["capacity"], -0.5, 0.5))
        for _ in range(_FAR_ROUNDS):
            away = at + solution["charge"] + solution.get("capacity", 0.0) * taken[rows]
            slope = kind.slope(np.clip(away, 0.0, 1.0))
            own["charge"] = slope
            if "capacity" in own:
                own["capacity"] = slope * taken[rows]
            seen = kind.ocv(away) - kind.ocv(at)
            seen = seen + sum(solution[name] * own[name] for name in ("ohmic", "polarisation") if name in own)
            table = np.column_stack(list(own.values())) * root[:, None]
            step = np.linalg.pinv(table) @ (root * (deviation[rows, cell] - seen))
            for name, change in zip(own, step.tolist(), strict=True):
                solution[name] += change
        inverse = np.linalg.pinv(table.T @ table)
        rest = root * (deviation[rows, cell] - seen)
        widened = _widened(rest[:, None], max(1.0, float(weight[rows].sum()) - len(own)))[0][0]
        for at_, name in enumerate(own):
            values[name][cell] = solution[name]
            errors[name][cell] = widened * np.sqrt(max(inverse[at_, at_], 0.0))
        if _BOTH in errors:
            errors[_BOTH][cell] = widened * _of_sum(inverse, list(own))
        if abs(solution["charge"]) > _FARTHEST or abs(solution.get("capacity", 0.0)) > _FARTHEST:
            for name in own:  # no cell is like that: the curve does not hold here, and nothing is known
                values[name][cell] = errors[name][cell] = np.nan
            continue
        if "capacity" in own:
            doubt = _TABLE_SHARE * abs(solution["charge"]) / float(np.ptp(taken[good]))
            errors["capacity"][cell] = np.hypot(errors["capacity"][cell], doubt)


def _widened(rest: Floats, freedom: float) -> tuple[Floats, Floats]:
    """Scatter of each column of residuals, as it counts and as it is; the first widened where they stay on one side."""
    power = (rest**2).sum(axis=0)
    scatter = np.sqrt(power / freedom)
    follow = np.clip((rest[1:] * rest[:-1]).sum(axis=0) / np.maximum(power, 1e-30), 0.0, 0.98)
    return scatter * np.sqrt((1 + follow) / (1 - follow)), scatter


_BOTH: Final = "ohmic and polarisation"


def _of_sum(inverse: NDArray[np.floating[Any]], names: Sequence[str]) -> float:
    """1 sigma of the two resistances' sum, for readings of unit scatter."""
    one, two = names.index("ohmic"), names.index("polarisation")
    return float(np.sqrt(max(inverse[one, one] + inverse[two, two] + 2 * inverse[one, two], 0.0)))


def _fit_all(
    deviation: Floats, columns: dict[str, Floats], weight: Floats, good: NDArray[np.bool_]
) -> tuple[dict[str, Floats], dict[str, Floats], float]:
    """Weighted least squares of every cell at once; errors as :func:`_widened`."""
    names = list(columns)
    table = np.column_stack([columns[name] for name in names])
    cells = deviation.shape[1]
    values = {name: np.full(cells, np.nan) for name in names}
    errors = {name: np.full(cells, np.nan) for name in names}
    if {"ohmic", "polarisation"} <= set(names):
        errors[_BOTH] = np.full(cells, np.nan)
    noises = []
    patterns: dict[bytes, list[int]] = {}
    seen = np.isfinite(deviation) & good[:, None]
    for cell in range(cells):
        if int(seen[:, cell].sum()) >= _FEWEST_ROWS:
            patterns.setdefault(np.packbits(seen[:, cell]).tobytes(), []).append(cell)
    for group in patterns.values():
        rows = seen[:, group[0]]
        w = weight[rows]
        a = table[rows] * np.sqrt(w)[:, None]
        b = deviation[rows][:, group] * np.sqrt(w)[:, None]
        inverse = np.linalg.pinv(a.T @ a)
        solution = inverse @ (a.T @ b)
        rest = b - a @ solution
        freedom = max(1.0, float(w.sum()) - len(names))
        widened, scatter = _widened(rest, freedom)
        for at, name in enumerate(names):
            values[name][group] = solution[at]
            errors[name][group] = widened * np.sqrt(max(inverse[at, at], 0.0))
        if _BOTH in errors:
            errors[_BOTH][group] = widened * _of_sum(inverse, names)
        noises.extend(scatter.tolist())
    return values, errors, float(np.median(noises)) if noises else float("nan")
