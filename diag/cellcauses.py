"""Why a cell stands apart: resistance, a joint, capacity, charge; with the evidence, and what is not visible.

The figures are those of :mod:`diag.cellmodel`. A cause is named when it is large enough to matter, stands out of how
the other cells differ, and is known well enough; what the recording cannot tell is listed with what would tell it.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.facts import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diag.cellmodel import CellModel
    from diag.limits import BatteryLimits

    Floats = NDArray[np.float64]

__all__ = ["CellCause", "Unseen", "find_causes", "what_is_unseen"]

_CODES: Final = {
    "joint": "battery.module-joint",
    "resistance": "battery.cell-resistive",
    "capacity": "battery.cell-capacity",
    "charge-low": "battery.cell-charge-low",
    "charge-high": "battery.cell-charge-high",
}


@dataclass(frozen=True, slots=True)
class CellCause:
    """One cause in one cell.

    Args:
        cell: counted from 1 in pack order.
        cause: ``joint``, ``resistance``, ``capacity``, ``charge-low`` or ``charge-high``.
        value: ohms, share of the capacity, or share of charge, against the median cell.
        error: 1 sigma of it, in the same unit.
        score: how many times the usual difference between cells.
    """

    cell: int
    cause: str
    value: float
    error: float
    score: float

    @property
    def code(self) -> str:
        """Code of the finding."""
        return _CODES[self.cause]


@dataclass(frozen=True, slots=True)
class Unseen:
    """A question that this recording cannot answer, why, and what would answer it."""

    what: str
    why: Text
    remedy: Text


def _scatter(values: Floats, floor: float) -> tuple[float, float]:
    """Median of the cells and their usual difference, 1 sigma."""
    seen = values[np.isfinite(values)]
    if not len(seen):
        return 0.0, floor
    middle = float(np.median(seen))
    return middle, max(floor, 1.4826 * float(np.median(np.abs(seen - middle))))


def find_causes(model: CellModel, limits: BatteryLimits) -> tuple[CellCause, ...]:
    """Causes that stand out, the clearest first; several in one cell are several entries."""
    found: list[CellCause] = []
    whole = model.pack_resistance
    if np.isfinite(whole) and whole > 0:
        more = model.resistance
        middle, usual = _scatter(more, limits.natural_spread * whole)
        for cell in np.flatnonzero(np.isfinite(more)):
            value, error = float(more[cell]) - middle, float(model.resistance_error[cell])
            score = value / max(usual, error)
            if value >= limits.resistance_watch * whole and score >= limits.z_model:
                cause = "joint" if _is_joint(model, int(cell), limits) else "resistance"
                found.append(CellCause(int(cell) + 1, cause, value, error, score))
    # A difference of charge in a sense-wire pair is no charge: those cells are taken out before.
    middle, usual = _scatter(model.charge, limits.charge_spread)
    for cell in np.flatnonzero(np.isfinite(model.charge)):
        value, error = float(model.charge[cell]) - middle, float(model.charge_error[cell])
        score = abs(value) / max(usual, error)
        if abs(value) >= limits.charge_watch and score >= limits.z_model:
            cause = "charge-low" if value < 0 else "charge-high"
            found.append(CellCause(int(cell) + 1, cause, value, error, score))
    low_in_charge = {cause.cell for cause in found if cause.cause == "charge-low"}
    middle, usual = _scatter(model.capacity, limits.natural_spread)
    for cell in np.flatnonzero(np.isfinite(model.capacity)):
        value, error = float(model.capacity[cell]) - middle, float(model.capacity_error[cell])
        score = -value / float(np.hypot(usual, error))
        # Where the cells differ by more than they do by nature, it is the model that is off: more is asked for.
        is_clear = usual <= limits.model_scatter * limits.natural_spread
        need = limits.z_capacity if is_clear else limits.z_model
        share = 1.0
        if int(cell) + 1 in low_in_charge:  # two traces of one cause need not be as strong as one alone
            share = limits.capacity_beside_charge
        if value <= -limits.capacity_watch * share and score >= need * share:
            found.append(CellCause(int(cell) + 1, "capacity", value, error, score))
    return tuple(sorted(found, key=lambda cause: -cause.score))


def _is_joint(model: CellModel, cell: int, limits: BatteryLimits) -> bool:
    """Only the part that answers at once is too large: no chemistry behind it, a contact."""
    if model.pack_polarisation <= limits.joint_needs_share * model.pack_resistance:
        return False
    ohmic = float(model.ohmic[cell]) / model.pack_ohmic
    slow = float(model.polarisation[cell]) / model.pack_polarisation
    known = float(model.polarisation_error[cell]) / model.pack_polarisation
    return ohmic > 0 and slow + 2 * known < limits.joint_share * ohmic


def what_is_unseen(model: CellModel | None, limits: BatteryLimits) -> tuple[Unseen, ...]:
    """Questions without an answer; never taken for health."""
    if model is None:
        why = Text(
            "half a minute of cell voltages with the pack's current is needed", "需要至少半分钟的单体电压和总电流数据"
        )
        how = Text(
            "record a drive of 20 minutes: huizhen log record -o drive.log --duration 1200, "
            "then huizhen battery --from drive.log",
            "录制 20 分钟行驶数据：huizhen log record -o drive.log --duration 1200，"
            "再运行 huizhen battery --from drive.log",
        )
        return (Unseen("resistance", why, how), Unseen("capacity", why, how))
    found = []
    if not np.isfinite(model.resistance).any():
        found.append(
            Unseen(
                "resistance",
                Text(
                    f"the current hardly moved ({model.current_spread_a:.1f} A)",
                    f"电流几乎没有变化（{model.current_spread_a:.1f} A）",
                ),
                Text("drive with accelerations, or charge with breaks", "带加速行驶，或间断充电"),
            )
        )
    error = model.charge_error[np.isfinite(model.charge_error)]
    if len(error) and float(np.median(error)) * limits.z_flag > limits.charge_seen:
        why = Text("the cells' voltage hardly changes with their charge here", "单体电压在此区间几乎不随电量变化")
        how = Text(
            "after a full charge, or below 15 % of charge: measure again there", "充满后或电量低于 15 % 时再次测量"
        )
        found.append(Unseen("charge", why, how))
    error = model.capacity_error[np.isfinite(model.capacity_error)]
    if not len(error) or float(np.median(error)) * limits.z_flag > limits.capacity_seen:
        passed = f"{100 * (model.swing or 0.0):.0f} %"
        flat = model.kind is not None and model.kind.chemistry.name == "lfp"
        why = Text(
            f"only {passed} of the charge passed" + (", and the voltage of LFP cells is flat there" if flat else ""),
            f"仅有 {passed} 的电量变化" + ("，且磷酸铁锂在此区间电压平坦" if flat else ""),
        )
        how = Text(
            "a drive down to below 15 %, or a charge from there" if flat else "a charge from 20 to 80 %",
            "放电至 15 % 以下，或由此开始充电" if flat else "由 20 % 充至 80 %",
        )
        found.append(Unseen("capacity", why, how))
    return tuple(found)
