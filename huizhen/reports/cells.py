"""The battery in a report: its figures, every cell, where the cells stand on their voltage curve, state of health.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diag.celltypes import cell_types, fit_cell_type
from diag.facts import Text
from diag.limits import limits_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.broadcast import Broadcast
    from diag.celltypes import CellType
    from diag.facts import Json
    from huizhen.reports.source import ReportSource

__all__ = ["battery_content", "study_of_broadcast"]

_LOADED: Final = Text("the cells under load", "单体在负载下的表现")
_READ_MV: Final = 4.0
_LOAD_MOHM: Final = 1.5
"""What current may pull a cell off its resting voltage by: resistance and polarisation of a usual cell (M)."""
_UNTOLD_MV: Final = 20.0
"""The same where nobody tells the current."""
_TWO_SIGMA: Final = 2.0


def study_of_broadcast(broadcast: Broadcast, vin: str | None) -> Json | None:
    """``huizhen.battery/1`` of a visit's frames; None where they are too few to say more than the scan did."""
    from diag.batteryreport import battery_report

    report = battery_report(broadcast.series, source=broadcast.source, limits=limits_for(vin))
    return None if report is None or report.study is None else report.to_json()


def battery_content(source: ReportSource, study: Json | None, *, for_customer: bool) -> Json | None:
    """What a report says of the battery; None where there is none to be seen.

    Args:
        source: the scan or battery report.
        study: ``huizhen.battery/1`` of the same visit, where its frames are at hand.
        for_customer: without what nobody outside of a workshop reads.
    """
    battery = source.battery
    if battery is None:
        return None
    full: Json | None = study if source.is_scan else battery
    told = {**battery, "soh": battery["soh"] or (full["soh"] if full else None)}
    content: Json = {
        "soc": battery["soc"],
        "spread_mv": battery["spread_mv"],
        "health": _health(told, full, source),
        "cells": _cells(battery, full, for_customer=for_customer),
        "unknown": _unknown(battery, full, told["soh"]),
    }
    if for_customer:
        return content
    return {
        **content,
        "pack_v": battery.get("pack_v"),
        "current_a": battery.get("current_a"),
        "insulation_kohm": battery["insulation_kohm"],
        "insulation_ohm_per_v": battery["features"].get("insulation_ohm_per_v"),
        "temp_max_c": battery["features"].get("temp_max_c"),
        "temp_spread_k": battery["features"].get("temp_spread_k"),
        "resistance_mohm": (full["study"] or {}).get("pack_resistance_mohm") if full else None,
        "seconds": (full["study"] or {}).get("seconds") if full else None,
        "probes": list(battery.get("temperatures_c", ())),
        "ocv": _ocv(battery, full),
        "rejected": _rejected(battery["rejected"]),
    }


def _cells(battery: Json, full: Json | None, *, for_customer: bool) -> Json | None:
    volts = battery["cell_v"]
    seen = [value for value in volts if value is not None]
    if not seen:
        return None
    weakest = battery["weakest"]
    cells: Json = {
        "v": list(volts),
        "median_v": round(statistics.median(seen), 4),
        "weakest": weakest["cell"] if weakest and 1 <= weakest["cell"] <= len(volts) else None,
    }
    if for_customer:
        return cells
    labels = battery.get("cell_labels", [])
    causes = ((full["study"] or {}).get("causes") or []) if full else []
    return {
        **cells,
        "labels": [labels[at] if at < len(labels) else str(at + 1) for at in range(len(volts))],
        "why": weakest["why"] if weakest else None,
        "causes": [{"cell": one["cell"], "cause": one["cause"]} for one in causes],
    }


def _health(battery: Json, full: Json | None, source: ReportSource) -> Json:
    vehicle = source.value.get("vehicle")
    limits = limits_for(vehicle["vin"] if vehicle else None)
    soh = battery["soh"]
    methods = full["soh_methods"] if full else []
    names = {item["method"]: item["name"] for item in methods}
    return {
        "percent": soh["percent"] if soh else None,
        "interval": list(soh["interval"])[:2] if soh and soh["interval"] else None,
        "method": names.get(soh["method"]) or _method_name(soh["method"]) if soh else None,
        "by_car": bool(soh) and soh["method"] == "car-says",
        "methods": [
            {key: item[key] for key in ("name", "capacity_ah", "interval_ah", "percent", "interval")}
            for item in methods
        ],
        "missing": full["soh_missing"] if full else None,
        "warranty_percent": full["warranty_percent"] if full else limits.warranty_percent,
        "warranty_years": full["warranty_years"] if full else limits.warranty_years,
    }


def _method_name(method: str) -> Json:
    from diag.packhealth import METHOD_NAMES

    found = METHOD_NAMES.get(method)
    return found.to_json() if found is not None else {"en": method, "zh": method}


def _unknown(battery: Json, full: Json | None, soh: Any) -> list[Json]:
    """What these data cannot tell, with what would show it."""
    found = []
    study = full["study"] if full else None
    if study:
        names = {
            "resistance": Text("resistance of the cells", "单体内阻"),
            "capacity": Text("capacity of the cells", "单体容量"),
            "charge": Text("charge of single cells", "单体电量差异"),
        }
        found += [
            {
                "what": names.get(item["what"], Text(item["what"], item["what"])).to_json(),
                "why": item["why"],
                "remedy": item["remedy"],
            }
            for item in study["not_visible"]
        ]
    else:
        why = Text("this reading is of a moment", "本次读取仅为瞬时数据")
        remedy = Text(
            "record a drive of 20 minutes: huizhen battery --duration 1200",
            "记录 20 分钟行驶数据：huizhen battery --duration 1200",
        )
        found.append({"what": _LOADED.to_json(), "why": why.to_json(), "remedy": remedy.to_json()})
    missing = sum(value is None for value in battery["cell_v"])
    if missing:
        why = Text(
            f"{missing} of {len(battery['cell_v'])} cells sent no voltage",
            f"{len(battery['cell_v'])} 个单体中有 {missing} 个无电压数据",
        )
        remedy = Text("check the sense wires and read again", "检查采样线后重新读取")
        found.append(
            {"what": Text("the whole pack", "整个电池包").to_json(), "why": why.to_json(), "remedy": remedy.to_json()}
        )
    if soh is None:
        why = Text("nothing in these data tells the capacity", "数据中没有可用于判断容量的内容")
        if full and full["soh_missing"]:
            why = Text(full["soh_missing"]["en"], full["soh_missing"]["zh"])
        remedy = Text(
            "record a drive or a charge from low to high, and name the capacity when new: huizhen battery --rated-ah",
            "记录一次从低电量到高电量的充电或一段行驶，并给出新电池容量：huizhen battery --rated-ah",
        )
        found.append(
            {"what": Text("state of health", "健康状态").to_json(), "why": why.to_json(), "remedy": remedy.to_json()}
        )
    return found


def _rejected(items: Sequence[Json]) -> list[Json]:
    """What was not believed, one line per reason."""
    groups: dict[str, list[Json]] = {}
    for item in items:
        groups.setdefault(item["why"]["en"], []).append(item)
    return [
        {
            "signal": group[0]["signal"]
            if len(group) == 1
            else f"{group[0]['signal']} … {group[-1]['signal']} ({len(group)})",
            "n": sum(item["n"] for item in group),
            "why": group[0]["why"],
        }
        for group in groups.values()
    ]


def _ocv(battery: Json, full: Json | None) -> Json | None:
    """Median, lowest and highest cell on the curve of their kind; None where no kind of cell comes near."""
    seen = [(value, at + 1) for at, value in enumerate(battery["cell_v"]) if value is not None]
    if not seen:
        return None
    study = (full["study"] or {}) if full else {}
    kind = cell_types().get(study.get("cell_type") or "")
    is_guess = kind is None
    median = statistics.median(value for value, _ in seen)
    if kind is None:
        soc = battery["soc"]
        told = np.array([soc / 100 if soc is not None else np.nan])
        fit = fit_cell_type(np.array([median]), np.array([0.0]), told)
        if fit is None:
            return None
        kind = fit.kind
    current, limits = battery.get("current_a"), limits_for(None)
    off_mv = _UNTOLD_MV if current is None else float(np.hypot(_READ_MV, _LOAD_MOHM * current))
    return {
        "type": kind.name,
        "chemistry": kind.chemistry.title.to_json(),
        "guess": is_guess,
        "rested": None if current is None else abs(current) <= limits.rest_a,
        "current_a": current,
        "soc": battery["soc"],
        "curve": [[round(100 * soc, 1), volts] for soc, volts in zip(kind.soc, kind.ocv_v, strict=True)],
        "points": [
            _point("lowest", *min(seen), kind, off_mv),
            _point("median", median, None, kind, off_mv),
            _point("highest", *max(seen), kind, off_mv),
        ],
    }


def _point(what: str, volts: float, cell: int | None, kind: CellType, off_mv: float) -> Json:
    soc = float(kind.soc_from_ocv(np.array([volts]))[0])
    error = _TWO_SIGMA * kind.soc_error(soc, off_mv)
    low, high = max(0.0, soc - error), min(1.0, soc + error)
    return {
        "what": what,
        "cell": cell,
        "v": round(volts, 4),
        "soc": round(100 * soc, 1),
        "interval": [round(100 * low, 1), round(100 * high, 1)],
    }
