"""What is broken, behind everything that a visit shows: causes in the order of their odds.

Codes, findings and facts are weighed against a table (``rules/causes.toml``): how often a car with this cause shows it,
against how often a car shows it anyway. What could have been seen and was not counts against a cause; what could not be
seen counts for nothing. The odds are those of a simple model (evidence taken as independent, tempered for that it is
not), good for an order and for saying "not certain", and no calibrated probability; the case library learns those.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diag.evidence import is_failing
from diag.facts import Cause, Dtc, Evidence, Finding, Text
from diag.limits import limits_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from diag.batterydoctor import BatteryStudy
    from diag.facts import BatteryState
    from diag.limits import BatteryLimits
    from diag.vehiclereport import Ecu

__all__ = ["CAUSES", "CauseEvidence", "causes_by_code", "causes_of", "rank_causes"]

CAUSES: Final = Path(__file__).parent / "rules" / "causes.toml"

_LEVELS: Final = {"usual": 0.9, "often": 0.5, "sometimes": 0.2, "never": 0.003}
_BY_CHANCE: Final = 0.03
_TEMPER: Final = 0.6
_MOST: Final = 5
_TROUBLES: Final = 4
_SHOWN: Final = 0.02
_NOT_EXCLUDED: Final = 0.1
"""Odds of a dangerous rival with which nothing harmless is called likely."""
_SURE: Final = 0.6
_HIDDEN: Final[Mapping[str, tuple[str, ...]]] = {
    "capacity": ("battery.cell-capacity",),
    "charge": ("battery.cell-charge-low", "battery.cell-charge-high", "battery.cell-short"),
    "resistance": ("battery.cell-resistive", "battery.cell-worn", "battery.module-joint"),
}
"""What a recording that does not show this cannot find."""
_STUDIED: Final = (
    "battery.cell-", "battery.module", "battery.soc", "thermal.probe", "thermal.gradient", "insulation.int", "hv.",
)  # fmt: skip
"""Beginnings of findings that need a recording over time."""
_MANY: Final = 3
_HEALTH_LOW: Final = 78.0
_FINE: Final = 2.0


@dataclass(frozen=True, slots=True)
class CauseEvidence:
    """All that a visit knows.

    Args:
        dtcs: merged records that are evidence of a fault.
        findings: what was concluded from them and from the battery.
        ecus: who answered.
        battery: its figures; None where nothing was received.
        is_studied: the battery was watched long enough under load.
        unseen: findings that the recording could not show, whatever is the matter.
        isolation_limit: Ω/V below which isolation is low.
    """

    dtcs: Sequence[Dtc]
    findings: Sequence[Finding]
    ecus: Sequence[Ecu]
    battery: BatteryState | None
    is_studied: bool
    isolation_limit: float
    unseen: frozenset[str] = frozenset()

    def with_codes(self, *codes: str) -> list[Dtc]:
        """The records of these codes; an asterisk stands for any ending."""
        return [dtc for dtc in self.dtcs if any(_fits(dtc, code) for code in codes)]

    def with_findings(self, *codes: str) -> list[Finding]:
        """The findings of these codes."""
        return [finding for finding in self.findings if finding.code in codes]


def _fits(dtc: Dtc, wanted: str) -> bool:
    if wanted.endswith("*"):
        return dtc.code.startswith(wanted[:-1])
    return dtc.display == wanted or dtc.code == wanted


# -- facts: what several codes say together --------------------------------------------------------------------------

_Shown = Dtc | Finding | Evidence
_Fact = Callable[[CauseEvidence], list[_Shown] | None]
"""What shows it, empty where it is not so; None where it cannot be known."""


def _low_supply(seen: CauseEvidence) -> list[_Shown]:
    return [*seen.with_codes("U3003", "P0562")]


def _units(dtcs: Iterable[Dtc]) -> set[str]:
    return {dtc.ecu or "" for dtc in dtcs}


def _many_low(seen: CauseEvidence) -> list[_Shown]:
    found = seen.with_codes("U3003")
    return [*found] if len(_units(found)) >= _MANY else []


def _one_low(seen: CauseEvidence) -> list[_Shown]:
    found = seen.with_codes("U3003")
    return [*found] if len(_units(found)) == 1 else []


def _missed(seen: CauseEvidence) -> set[str]:
    """Codes "lost communication with …", each of which names one unit."""
    return {dtc.code for dtc in seen.dtcs if dtc.code.startswith(("U01", "U02"))}


def _one_missed(seen: CauseEvidence) -> list[_Shown]:
    silent = seen.with_findings("network.ecu-silent")
    found = [dtc for dtc in seen.dtcs if dtc.code.startswith(("U01", "U02"))]
    return [*found, *silent] if (len(_missed(seen)) == 1 or (not found and len(silent) == 1)) else []


def _many_missed(seen: CauseEvidence) -> list[_Shown]:
    found = [dtc for dtc in seen.dtcs if dtc.code.startswith(("U01", "U02"))]
    return [*found] if len(_missed(seen)) >= _MANY else []


def _isolation_now(seen: CauseEvidence) -> float | None:
    return None if seen.battery is None else seen.battery.features.get("insulation_ohm_per_v")


def _isolation_low(seen: CauseEvidence) -> list[_Shown] | None:
    now = _isolation_now(seen)
    if now is None:
        return None
    return [*seen.with_findings("insulation.low")] if now < seen.isolation_limit else []


def _isolation_fine(seen: CauseEvidence) -> list[_Shown] | None:
    now = _isolation_now(seen)
    if now is None:
        return None
    return [*seen.with_codes("P0AA6")] if now > _FINE * seen.isolation_limit else []


def _comes_and_goes(seen: CauseEvidence) -> list[_Shown] | None:
    """Isolation was seen to change, or a code of it is stored and isolation is fine now."""
    found: list[_Shown] = [*seen.with_findings("insulation.intermittent")]
    return found or _isolation_fine(seen)


def _low_health(seen: CauseEvidence) -> list[_Shown] | None:
    percent = seen.battery.soh.get("percent") if seen.battery is not None and seen.battery.soh else None
    if percent is None:
        return None
    if percent >= _HEALTH_LOW:
        return []
    text = Text(f"state of health {percent:.0f} %", f"健康状态 {percent:.0f} %")
    return [Evidence("signal", "StateOfHealth", text, float(percent), "%")]


def _codes(*codes: str) -> _Fact:
    return lambda seen: [*seen.with_codes(*codes)]


def _findings(*codes: str) -> _Fact:
    return lambda seen: [*seen.with_findings(*codes)]


_FACTS: Final[Mapping[str, _Fact]] = {
    "low-supply": _low_supply,
    "many-low-supply": _many_low,
    "one-low-supply": _one_low,
    "converter-weak": _codes("P0A94", "P0A95"),
    "one-missed": _one_missed,
    "many-missed": _many_missed,
    "bus-off": _codes("U0001", "U0002", "U0073", "U0074"),
    "isolation-low-now": _isolation_low,
    "isolation-comes-and-goes": _comes_and_goes,
    "low-health": _low_health,
    "cell-short-of-charge": _findings("battery.cell-charge-low", "battery.cell-capacity"),
    "one-module-warm": _findings("thermal.gradient", "thermal.probe-offset"),
    "probe-finding": _findings("thermal.sensor", "thermal.probe-stuck", "thermal.probe-offset"),
    "contactor-welded": _codes("P0AA1", "P0AA4", "P0AA0-73", "P0AA3-73"),
    "contactor-open": _codes("P0AA2", "P0AA5"),
    "contactor-circuit": _codes("P0AA0", "P0AA3", "P0AD9", "P0ADD"),
    "precharge": _codes("P0C76", "P0C77", "P0C78", "P0AE1", "P0AE2", "P0AE4"),
    "interlock": _codes("P0A0A", "P0A0B", "P0A0C", "P0A0D", "P0A0E"),
    "battery-pump": _codes("P0CFF", "P0C47", "P0C48", "P0C49", "P0C4A", "P0C4B"),
    "drive-pump": _codes("P0A05", "P0A06", "P0A07", "P0C73"),
    "radiator-fan": _codes("P0480", "P0481", "P0482", "P0483", "P0A81", "P0495"),
    "pilot": _codes("P0CF4", "P0CF5", "P0CF6", "P0CF7"),
    "station": _codes("U057C", "U057D", "U057E"),
    "resolver": _codes("P0A3F", "P0A40", "P0A41", "P0A42"),
    "phase": _codes("P0BFD", "P0BFE", "P0A60", "P0A63", "P0A66", "P0A78"),
    "brake-switch": _codes("C0040", "C0041", "P0571", "P0504"),
    "misfire": _codes(*(f"P030{cylinder}" for cylinder in range(9))),
    "lean": _codes("P0171", "P0174"),
}


def _seen(entry: str, seen: CauseEvidence) -> list[_Shown] | None:
    """What shows an entry of the table; None where it could not have been seen."""
    kind, _, name = entry.partition(":")
    if kind == "fact":
        return _FACTS[name](seen)
    if "." in entry:
        found = seen.with_findings(entry)
        is_of_battery = entry.startswith(("battery.", "thermal.", "hv.", "insulation."))
        could = seen.battery is not None and (seen.is_studied or not entry.startswith(_STUDIED))
        could = could and entry not in seen.unseen
        return [*found] if found or could or not is_of_battery else None
    return [*seen.with_codes(entry)]


# -- ranking ---------------------------------------------------------------------------------------------------------


@cache
def _table() -> tuple[Mapping[str, Any], ...]:
    return tuple(tomllib.loads(CAUSES.read_text(encoding="utf-8"))["cause"])


@cache
def causes_by_code() -> Mapping[str, Text]:
    """Every cause of the table with its words."""
    return {cause["code"]: Text(cause["title"]["en"], cause["title"]["zh"]) for cause in _table()}


def causes_of(
    dtcs: Iterable[Dtc],
    findings: Sequence[Finding],
    ecus: Sequence[Ecu],
    battery: BatteryState | None,
    study: BatteryStudy | None,
    limits: BatteryLimits | None = None,
) -> tuple[Cause, ...]:
    """Causes behind one visit; see :class:`CauseEvidence` for what is asked."""
    is_studied = study is not None and study.model is not None
    hidden = {code for item in (study.unseen if study is not None else ()) for code in _HIDDEN.get(item.what, ())}
    faults = [dtc for dtc in dtcs if dtc.is_fault]
    limit = (limits or limits_for(None)).insulation_soon_ohm_per_v
    return rank_causes(CauseEvidence(faults, findings, ecus, battery, is_studied, limit, frozenset(hidden)))


def rank_causes(seen: CauseEvidence) -> tuple[Cause, ...]:
    """Causes trouble by trouble, the best of each first; empty where nothing speaks for any.

    Args:
        seen: the evidence.
    """
    if not seen.ecus and not seen.findings:
        return ()
    scored = []
    for cause in _table():
        score, because = _score(cause, seen)
        if because:
            scored.append(_Scored(score, cause, because, frozenset(item.ref for item in because)))
    scored.sort(key=lambda one: -one.score)
    out: list[Cause] = []
    trouble = 0
    while scored and trouble < _TROUBLES:
        # Causes that explain a part of the same are rivals; one that explains other things is another trouble.
        trouble += 1
        top = scored[0]
        rivals = [one for one in scored if one.refs & top.refs]
        scored = [one for one in scored if not one.refs & top.refs]
        out += _ranked(rivals, trouble)
    return tuple(out)


@dataclass(frozen=True, slots=True)
class _Scored:
    score: float
    cause: Mapping[str, Any]
    because: tuple[Evidence, ...]
    refs: frozenset[str]


def _ranked(rivals: Sequence[_Scored], trouble: int) -> list[Cause]:
    weights = [math.exp(_TEMPER * (one.score - rivals[0].score)) for one in rivals]
    odds = [weight / sum(weights) for weight in weights]
    dangers = [share for share, one in zip(odds[1:], rivals[1:], strict=True) if one.cause.get("danger")]
    is_open = max(dangers, default=0.0) >= _NOT_EXCLUDED
    out = []
    for share, one in zip(odds[:_MOST], rivals, strict=False):
        if share >= _SHOWN:
            code, title = one.cause["code"], Text(**one.cause["title"])
            out.append(Cause(code, title, trouble, share, share >= _SURE and not is_open, one.because))
    return out


def _score(cause: Mapping[str, Any], seen: CauseEvidence) -> tuple[float, tuple[Evidence, ...]]:
    """Log odds against chance, and what speaks for it."""
    score = math.log(cause["per_mille"] / 1000)
    because: list[Evidence] = []
    for level, share in _LEVELS.items():
        for entry in cause.get(level, ()):
            found = _seen(entry.rstrip("?"), seen)
            if found is None or (not found and entry.endswith("?")):
                continue
            if found:
                weight = _weight(found)
                score += weight * math.log(share / _BY_CHANCE)
                if level != "never":
                    because += [item for one in found for item in _evidence(one)]
            else:
                score += math.log((1 - share) / (1 - _BY_CHANCE))
    return score, tuple({item.ref: item for item in because}.values())


def _weight(found: Sequence[_Shown]) -> float:
    """A code that failed once, long ago, says half as much as one that fails now."""
    return max(0.5 if isinstance(one, Dtc) and not is_failing(one) else 1.0 for one in found)


def _evidence(one: _Shown) -> tuple[Evidence, ...]:
    if isinstance(one, Evidence):
        return (one,)
    if isinstance(one, Finding):
        return (Evidence("finding", one.code, one.title),)
    text = one.text or Text(one.display, one.display)
    words = Text(f"{one.display}: {text.en}", f"{one.display}：{text.zh}")
    return (Evidence("dtc", f"{one.ecu or ''} {one.display}".strip(), words),)
